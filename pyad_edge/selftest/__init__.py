"""Whether engine, camera and parts are what they were: a record that can be signed."""
