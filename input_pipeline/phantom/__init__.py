"""Random abdomens with both modalities: the only source of truth for accuracy.

`anatomy` draws organs as smooth shapes, `tissues` lists what each tissue is made of,
`mr` and `ct` turn the same anatomy into scans by the physics of each machine. The
order of reading is that of `subject.draw_subject`.
"""

from input_pipeline.phantom.subject import PhantomSubject, draw_subject
from input_pipeline.phantom.tissues import TISSUES

__all__ = ["TISSUES", "PhantomSubject", "draw_subject"]
