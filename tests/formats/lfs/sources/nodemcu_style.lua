local M = {}
local pins = { led = 4, button = 3 }
function M.start(gpio, tmr)
  gpio.mode(pins.led, gpio.OUTPUT)
  tmr.create():alarm(1000, tmr.ALARM_AUTO, function(t)
    gpio.write(pins.led, gpio.read(pins.led) == 0 and 1 or 0)
    if gpio.read(pins.button) == 0 then t:unregister() end
  end)
end
return type(M.start), pins.led
