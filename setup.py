"""The compiled part: optional, so that the package also installs where there is no compiler."""

from setuptools import Extension, setup

# One build serves every Python from 3.11 on: the module keeps to the stable interface.
kernels = Extension(
    "morpheus_lite.catalog._kernels",
    ["morpheus_lite/catalog/_kernels.c"],
    define_macros=[("Py_LIMITED_API", "0x030B0000")],
    py_limited_api=True,
    optional=True,
)
setup(ext_modules=[kernels], options={"bdist_wheel": {"py_limited_api": "cp311"}})
