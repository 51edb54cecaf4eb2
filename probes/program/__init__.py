"""What runs beside an unmodified program, `audit run -- COMMAND`: it records the program's training from inside.

`lay` puts a folder on the program's machine whose `sitecustomize.py` (`site`) wakes one `recorder.Recorder` in every
process that imports a framework; `torch`, `dispatch`, `jax`, `sklearn` and `numpy_random` hook that framework; `launch`
starts and watches the program; `collect` makes jobs of a report of what the recorders wrote.

Contract of everything that runs inside the program: it never prints, never raises into the program, never changes what
the program computes (no random number is drawn, no flag set, no big tensor kept alive past its step), and costs nothing
before the import of a framework has ended. An error inside a hook becomes a note, and the recording stops there.

A process's recording is a file of its own in the folder, made with its first row: one JSON object a line, so that a
crash costs no more than what was not yet written. The lines, in the order in which they can come:

    {"process": {"pid", "began", "rank", "world"}}   first; rank and world are null where there are no ranks
    {"row": {...}}                                   a row's definition, by its fields; numbered from 0 as they come
    {"rows": [definition ...]}                       a list of definitions; numbered from 0 as they come
    {"step", "part": number of the list, "digests"}  further rows of a step, in their order; digests in base64
    {"value": {"step", "row", ...}}                  kept values, as in `probes/trace.py`
    {"effect": {fact: ...}}                          facts in effect; after the first step, and at the end
    {"fact": name, "record": {"value", "source"}}    a fact of the program; a later one of the name replaces it
    {"note": text}                                   what could not be seen, once a process
    {"score": {"name", "value", "stderr"}}
    {"done": step, "loss": loss or null}             this step is over; only rows of phase "evaluation" may still come
    {"end": true}                                    the process reached its end
"""
