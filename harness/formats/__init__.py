"""Containers: ESP and STM32 images, ROMFS, the Lua Flash Store."""
