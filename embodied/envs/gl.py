"""Finds a way to render without a screen before MuJoCo is imported, which asks for it only once."""

import ctypes
import functools
import os

EXTENSIONS = (b'eglQueryDevicesEXT', b'eglGetPlatformDisplayEXT')
PLATFORM_DEVICE = 0x313F
HINT = (
    'rendering needs EGL or OSMesa: apt install libegl1 libgl1, or apt install libosmesa6; '
    'MUJOCO_GL names one of them (egl, osmesa, glfw)'
)


@functools.cache
def setup() -> str:
    """Sets $MUJOCO_GL to what works here, unless it is set; returns it, `disable` if nothing is.

    EGL renders on the graphics card or on the CPU, OSMesa on the CPU.
    """
    if 'MUJOCO_GL' not in os.environ:
        works = 'egl' if _has_egl() else 'osmesa' if _has_osmesa() else 'disable'
        os.environ['MUJOCO_GL'] = works
    return os.environ['MUJOCO_GL']


def require() -> None:
    """Raises a ValueError with the packages to install if there is no way to render."""
    if setup() == 'disable':
        raise ValueError(HINT)


def _has_egl():
    """Whether a display of one of the EGL devices can be opened, as MuJoCo will do."""
    try:
        egl = ctypes.CDLL('libEGL.so.1')
        ctypes.CDLL('libGL.so.1')
    except OSError:
        return False
    egl.eglGetProcAddress.restype = ctypes.c_void_p
    query, display = map(egl.eglGetProcAddress, EXTENSIONS)
    if not query or not display:
        return False
    query = ctypes.CFUNCTYPE(ctypes.c_uint, ctypes.c_int, *[ctypes.c_void_p] * 2)(query)
    make = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_uint, *[ctypes.c_void_p] * 2)(display)
    devices, count = (ctypes.c_void_p * 16)(), ctypes.c_int()
    if not query(len(devices), devices, ctypes.byref(count)):
        return False
    return any(_opens(egl, make(PLATFORM_DEVICE, x, None)) for x in devices[: count.value])


def _opens(egl, display):
    # Left open: MuJoCo gets the same display, and ending it here would end it there.
    return bool(display) and bool(egl.eglInitialize(ctypes.c_void_p(display), None, None))


def _has_osmesa():
    for name in ('libOSMesa.so', 'libOSMesa.so.8', 'libOSMesa.so.6'):
        try:
            ctypes.CDLL(name)
            return True
        except OSError:
            continue
    return False
