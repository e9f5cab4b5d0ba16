import sys

import pytest

from embodied.envs import packages


def test_part_is_imported_without_the_face_of_its_package(tmp_path, monkeypatch):
    folder = tmp_path / 'with_a_face'
    folder.mkdir()
    (folder / '__init__.py').write_text('import no_such_thing')
    (folder / 'other.py').write_text('value = 3')
    (folder / 'inner.py').write_text('from .other import value\nfrom with_a_face import other')
    monkeypatch.syspath_prepend(tmp_path)
    assert packages.part('with_a_face.inner').value == 3
    assert packages.part('with_a_face.inner') is sys.modules['with_a_face.inner']
    assert 'with_a_face' not in sys.modules
    with pytest.raises(ModuleNotFoundError, match='no_such_thing'):
        import with_a_face  # noqa: F401
