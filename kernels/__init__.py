"""Every tensor operator of Nereid: Triton kernels with their declarations, references and cases."""
