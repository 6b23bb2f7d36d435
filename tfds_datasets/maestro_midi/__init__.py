"""Piano performances of MAESTRO."""
