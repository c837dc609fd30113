"""dangol reads a shop's purchase stream and keeps every customer's RFM and segment current to the second."""

__all__ = ["__version__"]
__version__ = "0.1.0"
