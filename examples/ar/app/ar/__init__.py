"""An augmented-reality pipeline: client → Pre → Obj → Rec → client.

Pre scales frames down, Obj finds what stands out from the background, Rec says what it is. The
client makes the frames, draws the boxes that come back and knows whether the labels are right.
"""
