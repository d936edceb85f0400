"""Virtual STM32 chips: their system-memory boot loader, option bytes, and how their flash boots."""
