"""Networks that were trained and saved by others, read as files: no graph is executed, no object unpickled.

`published` reads the SavedModel folders of the three published networks, `keras_file` the `.keras` and
`.weights.h5` files of Keras 3. Both give variables in the order of this program's own networks, ready for the
shelf (`recon_backend.models`).
"""
