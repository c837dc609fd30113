"""The HTTP side: parse, hand to the engine, render."""
