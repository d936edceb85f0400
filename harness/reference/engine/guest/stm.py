# MicroPython's stm module, as far as it is about the backup registers (CMSIS names and addresses).
from machine import mem32

RTC = 0x40002800
for _n in range(_BACKUP_REGISTERS):
    globals()["RTC_BKP%dR" % _n] = 0x50 + 4 * _n
