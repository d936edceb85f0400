"""Boards of a lab that labgrid looks after: a place is acquired, used, and given back. Nothing of labgrid is imported.

labgrid brings a pyserial of its own, so it lives in an environment of its own and is spoken to by ``labgrid-client``
(labgrid documentation, "Manual Pages", labgrid-client). ``client`` runs it and reads what it prints, ``keeper`` is the
process that has the place, ``lease`` is the harness's end of that, ``place_power`` a way of switching power.
"""
