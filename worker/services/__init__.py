"""Private PostgreSQL and RabbitMQ servers, for the demo, the tests and development."""
