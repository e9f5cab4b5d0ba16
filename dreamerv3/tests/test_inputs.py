"""Which observations the networks take: keys by regular expressions, and images of any size."""

import functools

import elements
import jax
import ninjax as nj
import numpy as np
import pytest

from dreamerv3 import decoder, inputs
from dreamerv3.tests import small

MULTS = (2, 3, 4, 4)
CAMERAS = {'wide': (32, 48), 'front': (64, 64), 'back': (64, 64)}


def images(**sizes):
    return {k: elements.Space(np.uint8, (*size, 3)) for k, size in sizes.items()}


@pytest.mark.parametrize(
    'size, count, small',
    [
        # Sizes of our suites, as they have always been.
        ((64, 64), 4, (4, 4)),
        ((96, 96), 4, (6, 6)),
        ((48, 256), 4, (3, 16)),
        ((256, 256), 4, (16, 16)),
        # Others: less halvings for small ones, and sides that are rounded up.
        ((5, 5), 1, (3, 3)),
        ((16, 16), 2, (4, 4)),
        ((16, 256), 2, (4, 64)),
        ((17, 17), 3, (3, 3)),
        ((33, 40), 4, (3, 3)),
        ((84, 84), 4, (6, 6)),
        ((210, 160), 4, (14, 10)),
    ],
)
def test_stages_follow_the_size(size, count, small):
    (group,) = inputs.cameras(images(image=size), MULTS, False)
    assert group.size == size and group.halvings == count and group.small == small
    assert group.mults == MULTS[-count:] and group.tail == ''
    for side, rest, least in zip(size, group.padding, small, strict=True):
        assert side + rest == least * 2**count and 0 <= rest < 2**count


def test_every_size_from_16_to_256_fits():
    for size in ((x, y) for x in range(16, 257) for y in (16, 17, 31, 64, 255, 256)):
        assert inputs.fits(size, 4)
        assert min(-(-x // 2 ** inputs.halvings(size, 4)) for x in size) >= inputs.SMALLEST


def test_outer_convolution_keeps_the_resolution():
    (group,) = inputs.cameras(images(image=(16, 16)), MULTS, True)
    assert (group.halvings, group.mults, group.small) == (2, (3, 4, 4), (4, 4))


def test_cameras_of_one_size_share_a_network():
    small_ones, large_ones = inputs.cameras(images(**CAMERAS), MULTS, False)
    assert list(small_ones.spaces) == ['wide'] and small_ones.tail == '_32x48'
    assert list(large_ones.spaces) == ['front', 'back'] and large_ones.tail == '_64x64'
    assert (small_ones.halvings, large_ones.halvings) == (3, 4)
    assert (small_ones.channels, large_ones.channels) == (3, 6)


@pytest.mark.parametrize(
    'include, exclude, keys',
    [
        ('.*', '', ['image', 'state', 'states']),
        ('state', '', ['state']),
        ('state.*', 'state', ['states']),
        ('.*', 'image|states', ['state']),
        ('nothing', '', []),
    ],
)
def test_keys_are_chosen_by_whole_names(include, exclude, keys):
    found = inputs.select(dict.fromkeys(('image', 'state', 'states')), include, exclude)
    assert list(found) == keys


def make(shape, **options):
    flags = {f'agent.{k}.simple.mults': MULTS for k in ('enc', 'dec')}
    flags |= {f'agent.{k.replace("_", ".simple.")}': v for k, v in options.items()}
    return small.make_model({**images(**shape), **small.VECTOR}, flags=flags)


def trained(model):
    """Shapes of the parameters, and of what an update of a batch puts out."""
    data = small.batch(model, rows=1, steps=3)
    run = nj.init(lambda: model.train(model.initial(1), data))
    return {k: v.shape for k, v in jax.eval_shape(run, {}, seed=small.SEED).items()}


@pytest.mark.parametrize('size', [(16, 16), (64, 48), (100, 100), (84, 84), (210, 160), (256, 256)])
def test_agents_of_any_size(size):
    model = make({'image': size})
    params, (group,) = trained(model), model.dec.cameras
    convs = [k for k in params if k.startswith('enc/cnn') and k.endswith('/kernel')]
    assert len(convs) == group.halvings
    assert params['dec/sp2/kernel'][1] == np.prod(group.small) * model.dec.depth * MULTS[-1]


def test_layers_of_cameras_of_several_sizes():
    params = trained(make(CAMERAS))
    assert params['enc/cnn0_64x64/kernel'][2] == 6 and params['enc/cnn0_32x48/kernel'][2] == 3
    assert 'enc/cnn3_64x64/kernel' in params and 'enc/cnn3_32x48/kernel' not in params
    assert params['dec/imgout_32x48/kernel'][3] == 3 and 'dec/imgout/kernel' not in params


def test_padding_is_cut_off_again():
    """A decoder of 6 x 7 pixels predicts what one of 6 x 8 does, without the last column."""
    feat = {'deter': np.ones((2, 8), np.float32), 'stoch': np.ones((2, 2, 4), np.float32)}
    recons = []
    for width in (7, 8):
        options = {'depth': 2, 'mults': (4,), 'units': 8}
        dec = decoder.Decoder(images(image=(6, width)), **options, name='dec')
        run = lambda dec=dec: dec(feat, bdims=1)['image'].pred()
        params = jax.jit(nj.init(run))({}, seed=small.SEED)
        recons.append(np.asarray(small.compiled(run)(params)[1]))
    assert recons[0].shape == (2, 6, 7, 3)
    np.testing.assert_array_equal(recons[0], recons[1][:, :, :7])


class TestKeys:
    """Some are only seen, and others only predicted."""

    make = staticmethod(functools.partial(make, {'image': (16, 16)}))

    def test_privileged(self):
        model = self.make(enc_exclude='vector')
        assert list(model.acted_on) == ['image']
        params = trained(model)
        assert any(k.startswith('dec/vec/vector/') for k in params)
        assert not any(k.startswith('enc/mlp') for k in params)

    def test_seen_only(self):
        model = self.make(dec_exclude='im.*')
        params = trained(model)
        assert any(k.startswith('enc/cnn') for k in params)
        assert not any(k.startswith(('dec/conv', 'dec/imgout')) for k in params)

    def test_nothing_is_predicted(self):
        params = trained(self.make(dec_include=''))
        assert not any(k.startswith('dec/') for k in params)

    def test_nothing_to_see(self):
        with pytest.raises(
            ValueError, match=r"^agent.enc.simple.include: got 'x', .* image, vector"
        ) as e:
            self.make(enc_include='x')
        assert '\n' not in str(e.value)
