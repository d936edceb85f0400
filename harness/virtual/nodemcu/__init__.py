"""A virtual ESP8266 with NodeMCU: what stands in its flash, and what runs from there."""
