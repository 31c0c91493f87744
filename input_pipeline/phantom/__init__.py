"""Random abdomens with MR and CT of the same anatomy, to measure accuracy by.

`anatomy` draws organs as smooth shapes, `tissues` lists the properties of each tissue,
and `mr` and `ct` simulate a scan of the same anatomy by the physics of each machine.
Read the modules in the order of `subject.draw_subject`.
"""

from input_pipeline.phantom.subject import PhantomSubject, draw_subject
from input_pipeline.phantom.tissues import TISSUES

__all__ = ["TISSUES", "PhantomSubject", "draw_subject"]
