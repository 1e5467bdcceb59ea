from lbcore.routing.picker import Picker

class Ramped(Picker):
    def __init__(self, picker: Picker) -> None: ...
