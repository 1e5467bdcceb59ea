# The buffers of `pick_many`. Declares nothing: `fill_buffer` is called from Python only.
