"""The landing page of `examples/landing-page` on real servers, and a browser that looks at it."""
