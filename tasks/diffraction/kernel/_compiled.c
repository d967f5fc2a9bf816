/* The kernel's Python binding: checks every size and type, and leaves the work to strong_pixels.c and byte_offset.c, which
   run without the interpreter's lock. Only the stable ABI is used: one build serves Python 3.11 and later. */

#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "kernel.h"

#include <limits.h>
#include <math.h>
#include <string.h>

#ifndef PLAZA_KERNEL_BUILD
#error "PLAZA_KERNEL_BUILD must name what is compiled and how: see building.py"
#endif

/* Get an array's memory: C-contiguous, of `dimensions`, its items of `size` bytes and of one of `formats`. */
static int get_array(PyObject *array, const char *name, int dimensions, Py_ssize_t size, const char *formats, int writable,
                     Py_buffer *view) {
    if (PyObject_GetBuffer(array, view, PyBUF_ND | PyBUF_FORMAT | (writable ? PyBUF_WRITABLE : 0)) < 0) return -1;
    const char *format = view->format ? view->format : "B";
    if (view->ndim == dimensions && (!size || view->itemsize == size) && strlen(format) == 1 && strchr(formats, *format))
        return 0;
    PyErr_Format(PyExc_TypeError, "%s: expected a %d-dimensional array of native '%s', got %d dimensions of %zd-byte '%s'",
                 name, dimensions, formats, view->ndim, view->itemsize, format);
    PyBuffer_Release(view);
    return -1;
}

/* Tell which type counts have; -1 and an error if it's none that the kernel knows. */
static int type_of(const Py_buffer *counts) {
    int is_signed = strchr("bhil", *counts->format) != NULL;
    switch (counts->itemsize) {
        case 1: return is_signed ? INT8 : UINT8;
        case 2: return is_signed ? INT16 : UINT16;
        case 4: return is_signed ? INT32 : UINT32;
        default: PyErr_Format(PyExc_TypeError, "counts of %zd bytes aren't known", counts->itemsize); return -1;
    }
}

static int64_t highest_of(int type) {
    static const int64_t highest[] = {INT8_MAX, UINT8_MAX, INT16_MAX, UINT16_MAX, INT32_MAX, UINT32_MAX};
    return highest[type];
}

static int read_instruction_set(const char *name, instruction_set *set) {
    *set = best_instruction_set();
    if (!name) return 0;
    for (*set = ANY_PROCESSOR; *set < INSTRUCTION_SETS; ++*set)
        if (!strcmp(name, instruction_set_name(*set)) && instruction_set_is_here(*set)) return 0;
    PyErr_Format(PyExc_ValueError, "this processor has no instruction set '%s'", name);
    return -1;
}

static int is_aligned(const void *pointer, size_t size) { return (uintptr_t)pointer % size == 0; }

/* Say what is wrong with arguments that are arrays of the right types; NULL if nothing is. */
static const char *check(const Py_buffer *counts, const Py_buffer *usable, const Py_buffer *scratch, const Py_buffer *flags,
                         const Py_buffer *found, const image *im, const dispersion *p) {
    if (im->height < 1 || im->width < 1 || im->height > INT_MAX / im->width) return "an image has 1 to 2^31 - 1 pixels";
    if (usable->shape[0] != im->height || usable->shape[1] != im->width) return "usable has another shape than counts";
    if ((size_t)scratch->len < scratch_size(im->width)) return "scratch is smaller than scratch_size says";
    if (flags && flags->len < counts->len / counts->itemsize) return "flags has fewer bytes than the image has pixels";
    if (p->extended && !flags) return "flags are needed for extended dispersion";
    if (!is_aligned(counts->buf, (size_t)counts->itemsize) || !is_aligned(scratch->buf, sizeof(int64_t)) ||
        !is_aligned(found->buf, sizeof(int64_t)))
        return "an array isn't aligned";
    if (im->lowest < 0 || im->highest < im->lowest || im->highest > highest_of((int)im->type))
        return "trusted counts are from 0 to the highest of their type";
    if (!(p->sigma_background >= 0 && p->sigma_strong >= 0 && p->global_threshold >= 0)) return "thresholds are 0 or more";
    if (!isfinite(p->sigma_background) || !isfinite(p->sigma_strong)) return "sigmas are finite";
    if (p->min_count < 2 || p->min_count > 49) return "min_count is from 2 to 49";
    return NULL;
}

static PyObject *py_find_strong(PyObject *module, PyObject *args) {
    (void)module;
    PyObject *objects[5], *result = NULL;
    long long lowest, highest;
    const char *processor;
    dispersion p;
    instruction_set set;
    if (!PyArg_ParseTuple(args, "OOOOO(LL)(ppdddi)z", &objects[0], &objects[1], &objects[2], &objects[3], &objects[4], &lowest,
                          &highest, &p.extended, &p.gaps_erode, &p.sigma_background, &p.sigma_strong, &p.global_threshold, &p.min_count,
                          &processor) ||
        read_instruction_set(processor, &set) < 0)
        return NULL;
    Py_buffer counts, usable, scratch, found, flags = {0};
    if (get_array(objects[0], "counts", 2, 0, "bBhHiIlL", 0, &counts) < 0) return NULL;
    if (get_array(objects[1], "usable", 2, 1, "?B", 0, &usable) < 0) goto release_counts;
    if (get_array(objects[2], "scratch", 1, 1, "B", 1, &scratch) < 0) goto release_usable;
    if (get_array(objects[3], "found", 1, sizeof(int64_t), "lq", 1, &found) < 0) goto release_scratch;
    if (objects[4] != Py_None && get_array(objects[4], "flags", 1, 1, "B", 1, &flags) < 0) goto release_found;
    int type = type_of(&counts);
    if (type >= 0) {
        image im = {counts.shape[0], counts.shape[1], (count_type)type, counts.buf, usable.buf, lowest, highest};
        const char *wrong = check(&counts, &usable, &scratch, flags.obj ? &flags : NULL, &found, &im, &p);
        if (wrong) {
            PyErr_SetString(PyExc_ValueError, wrong);
        } else {
            int64_t n;
            Py_BEGIN_ALLOW_THREADS
            n = find_strong(&im, &p, scratch.buf, flags.buf, found.buf, found.shape[0], set);
            Py_END_ALLOW_THREADS
            result = PyLong_FromLongLong(n);
        }
    }
    if (flags.obj) PyBuffer_Release(&flags);
release_found:
    PyBuffer_Release(&found);
release_scratch:
    PyBuffer_Release(&scratch);
release_usable:
    PyBuffer_Release(&usable);
release_counts:
    PyBuffer_Release(&counts);
    return result;
}

static PyObject *py_decode_byte_offset(PyObject *module, PyObject *args) {
    (void)module;
    PyObject *data_object, *counts_object, *result = NULL;
    const char *processor;
    instruction_set set;
    if (!PyArg_ParseTuple(args, "OOz", &data_object, &counts_object, &processor) ||
        read_instruction_set(processor, &set) < 0)
        return NULL;
    Py_buffer data, counts;
    if (PyObject_GetBuffer(data_object, &data, PyBUF_SIMPLE) < 0) return NULL;
    if (get_array(counts_object, "counts", 1, sizeof(int32_t), "il", 1, &counts) == 0) {
        if (!is_aligned(counts.buf, sizeof(int32_t))) {
            PyErr_SetString(PyExc_ValueError, "an array isn't aligned");
        } else {
            int64_t used, decoded;
            Py_BEGIN_ALLOW_THREADS
            used = decode_byte_offset(data.buf, data.len, counts.buf, counts.shape[0], &decoded, set);
            Py_END_ALLOW_THREADS
            result = Py_BuildValue("LL", (long long)used, (long long)decoded);
        }
        PyBuffer_Release(&counts);
    }
    PyBuffer_Release(&data);
    return result;
}

static PyObject *py_scratch_size(PyObject *module, PyObject *argument) {
    (void)module;
    Py_ssize_t width = PyLong_AsSsize_t(argument);
    if (width == -1 && PyErr_Occurred()) return NULL;
    if (width < 1 || width > INT_MAX) return PyErr_Format(PyExc_ValueError, "an image is 1 to 2^31 - 1 pixels wide");
    return PyLong_FromSize_t(scratch_size(width));
}

/* Tell whether the compiler has joined a multiplication and an addition, whatever it was told. */
static int contracts(void) {
    volatile double almost_one = 1 + 0x1p-30, square_rounded = 1 + 0x1p-29;
    return almost_one * almost_one - square_rounded != 0;
}

static PyMethodDef methods[] = {
    {"find_strong", py_find_strong, METH_VARARGS,
     "find_strong(counts, usable, scratch, found, flags, (lowest, highest), (extended, gaps_erode, sigma_background, "
     "sigma_strong, global_threshold, min_count), processor)\n\nReturn how many strong pixels are in `found`; negative: declined."},
    {"decode_byte_offset", py_decode_byte_offset, METH_VARARGS,
     "decode_byte_offset(data, counts, processor)\n\nReturn the bytes used, or a negative number, and the counts decoded."},
    {"scratch_size", py_scratch_size, METH_O, "scratch_size(width)\n\nReturn how many bytes of scratch an image needs."},
    {NULL, NULL, 0, NULL},
};

static int add_constants(PyObject *module) {
    PyObject *processors = PyList_New(0);
    if (!processors) return -1;
    for (instruction_set set = ANY_PROCESSOR; set < INSTRUCTION_SETS; set++) {
        if (!instruction_set_is_here(set)) continue;
        PyObject *name = PyUnicode_FromString(instruction_set_name(set));
        int failed = !name || PyList_Append(processors, name) < 0;
        Py_XDECREF(name);
        if (failed) break;
    }
    PyObject *tuple = PyErr_Occurred() ? NULL : PyList_AsTuple(processors);
    Py_DECREF(processors);
    int failed = !tuple || PyModule_AddObjectRef(module, "PROCESSORS", tuple) < 0;
    Py_XDECREF(tuple);
    return failed || PyModule_AddStringConstant(module, "BUILD", PLAZA_KERNEL_BUILD) < 0 ||
                   PyModule_AddIntConstant(module, "PIXEL_TOO_BRIGHT", PIXEL_TOO_BRIGHT) < 0 ||
                   PyModule_AddIntConstant(module, "SUMS_TOO_LARGE", SUMS_TOO_LARGE) < 0
               ? -1
               : 0;
}

static int execute(PyObject *module) {
    if (contracts()) {
        PyErr_SetString(PyExc_ImportError, "compiled with fused multiply-add, by which its pixels wouldn't be DIALS's");
        return -1;
    }
    return add_constants(module);
}

static PyModuleDef_Slot slots[] = {{Py_mod_exec, execute}, {0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, .m_name = "_compiled", .m_doc = "Strong pixels and byte offset, compiled.", .m_methods = methods,
    .m_slots = slots};

PyMODINIT_FUNC PyInit__compiled(void) { return PyModuleDef_Init(&definition); }
