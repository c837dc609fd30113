"""The pure logic: columns in, columns out; time, seed and settings are arguments."""
