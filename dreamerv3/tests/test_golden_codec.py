"""Encoder and decoder against the recorded numbers."""

import numpy as np
import pytest

from dreamerv3 import decoder, encoder
from dreamerv3.tests import numbers, recordings
from dreamerv3.tests.numbers import close, jitted, sub

pytestmark = pytest.mark.golden


@pytest.fixture(params=recordings.paths('codec_'), ids=lambda p: p.stem)
def case(request):
    arrays, meta = recordings.load(request.param)
    spaces = {k: numbers.space(meta['obs_space'][k]) for k in meta['obs_order']}
    return spaces, sub(arrays, 'params'), sub(arrays, 'in'), sub(arrays, 'out'), meta


def options(recorded, field):
    """Recorded options of a codec, without those it does not have."""
    return {k: tuple(v) if isinstance(v, list) else v for k, v in recorded.items() if k != field}


def test_encoder(case):
    spaces, params, x, want, meta = case
    enc = encoder.Encoder(spaces, **options(meta['encoder'], None), name='enc')
    obs = sub(x, 'obs')
    close(jitted(lambda: enc(obs, 2), params), want['tokens'], 'tokens')
    first = {k: v[:, 0] for k, v in obs.items()}
    close(jitted(lambda: enc(first, 1), params), want['tokens_single'], 'tokens_single')


def test_decoder(case):
    spaces, params, x, want, meta = case
    dec = decoder.Decoder(spaces, **options(meta['decoder'], 'symlog'), name='dec')
    obs, feat = sub(x, 'obs'), sub(x, 'feat')

    def fn():
        recons = dec(feat, 2)
        assert list(recons) == [k for k in spaces if k in dec.vectors] + list(dec.images)
        scaled = {k: np.float32(v) / 255 if k in dec.images else v for k, v in obs.items()}
        return {
            k: {
                'pred': d.pred(),
                'loss': d.loss(scaled[k]),
                **({'logits': d.logits} if hasattr(d, 'logits') else {}),
            }
            for k, d in recons.items()
        }

    got = jitted(fn, params)
    assert got.keys() == spaces.keys()
    for key in got:
        for name, value in sub(want, f'recon/{key}').items():
            close(got[key][name], value, f'{key}/{name}')
