"""A landing page for AWS Marketplace: takes the buyer in, and loses no buyer on the way."""
