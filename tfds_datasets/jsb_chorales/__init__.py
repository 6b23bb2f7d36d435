"""JSB Chorales, the file and split that papers compare on."""
