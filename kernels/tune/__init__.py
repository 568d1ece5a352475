"""`./dev tune`: measures tile choices on a device and writes them to targets/<target>.toml. See docs/kernels.md."""
