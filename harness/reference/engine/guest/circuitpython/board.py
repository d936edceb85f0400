# The pins by the names on an Adafruit Feather ESP32 V2.
import microcontroller

board_id = "virtual_feather_esp32"
for _name, _number in (
    ("A0", 26), ("A1", 25), ("A2", 34), ("A3", 39), ("A4", 36), ("A5", 4), ("SCK", 5), ("MOSI", 19), ("MISO", 21),
    ("RX", 7), ("TX", 8), ("D37", 37), ("SCL", 20), ("SDA", 22), ("D14", 14), ("D32", 32), ("D15", 15), ("D33", 33),
    ("D27", 27), ("D12", 12), ("D13", 13), ("LED", 13), ("BUTTON", 38), ("NEOPIXEL", 0),
):  # fmt: skip
    globals()[_name] = getattr(microcontroller.pin, "GPIO%d" % _number)
