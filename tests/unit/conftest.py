"""What all unit tests share."""

from hypothesis import settings

# Wall time says nothing on a machine that runs servers and other tests beside these.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")
