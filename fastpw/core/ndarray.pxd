"""What NumPy says of an array, read where it keeps it.

To open an array's buffer takes a tenth of a microsecond; a call of a small layer takes a few.
"""

cdef extern from *:
    """
    #define NPY_NO_DEPRECATED_API NPY_1_7_API_VERSION
    #include <numpy/ndarraytypes.h>

    /* Numbers of this type in the machine's byte order. */
    #define fastpw_holds(array, type) (PyArray_TYPE(array) == (type) && PyArray_ISNOTSWAPPED(array))
    """
    enum:
        FLOAT32 "NPY_FLOAT32"
        FLOAT64 "NPY_FLOAT64"
        INT8 "NPY_INT8"
        UINT8 "NPY_UINT8"
        INT32 "NPY_INT32"

    ctypedef class numpy.ndarray [object PyArrayObject, check_size ignore]:
        pass

    char *first_byte "PyArray_BYTES"(ndarray) noexcept
    int axes "PyArray_NDIM"(ndarray) noexcept
    const Py_ssize_t *shape_of "PyArray_DIMS"(ndarray) noexcept
    const Py_ssize_t *strides_of "PyArray_STRIDES"(ndarray) noexcept
    int type_of "PyArray_TYPE"(ndarray) noexcept
    bint holds "fastpw_holds"(ndarray, int type) noexcept
    bint may_be_written "PyArray_ISWRITEABLE"(ndarray) noexcept


cdef inline int need_columns(ndarray array, Py_ssize_t columns) except -1:
    """That an array, unless it is None, has so many channels was checked. It is looked at again, as join_axes does."""
    if array is not None and shape_of(array)[axes(array) - 1] != columns:
        raise ValueError(f"{columns} channels are needed, got an array that was changed meanwhile")
    return 0


cdef inline Py_ssize_t bytes_of_number(ndarray array) noexcept:
    cdef int type = type_of(array)
    if type == INT8 or type == UINT8:
        return 1
    return 4 if type == FLOAT32 or type == INT32 else 8
