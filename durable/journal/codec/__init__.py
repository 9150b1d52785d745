"""Values, errors and records as text, and back."""
