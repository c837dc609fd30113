"""The public test kit: the generated shop, garbage, and fakes of the ports."""
