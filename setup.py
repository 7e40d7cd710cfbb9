"""The compiled parts: optional, so that the package also installs where there is no compiler."""

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
        optional=True,
    )
    for room, name in (("catalog", "_kernels"), ("core", "_loops"))
]
setup(ext_modules=parts, options={"bdist_wheel": {"py_limited_api": "cp311"}})
