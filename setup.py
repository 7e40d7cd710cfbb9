"""The compiled parts: built when a wheel is, or when the package is installed from source, which takes a C compiler."""

import sys

from setuptools import Extension, setup

# One build serves every Python from 3.11 on: the modules keep to the stable interface.
parts = [
    Extension(
        f"morpheus_lite.{room}.{name}",
        [f"morpheus_lite/{room}/{name}.c"],
        define_macros=[("Py_LIMITED_API", "0x030B0000")],
        extra_compile_args=[] if sys.platform == "win32" else ["-fno-math-errno"],  # roots are taken side by side
        py_limited_api=True,
    )
    for room, name in (("catalog", "_kernels"), ("core", "_loops"))
]
setup(ext_modules=parts, options={"bdist_wheel": {"py_limited_api": "cp311"}})
