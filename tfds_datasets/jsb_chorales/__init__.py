"""JSB Chorales on a grid of sixteenths, with the splits used in the literature."""
