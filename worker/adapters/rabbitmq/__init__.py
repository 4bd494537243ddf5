"""RabbitMQ: connection, topology, confirmed publishing and supervised consuming."""
