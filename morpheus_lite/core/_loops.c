/* Loops over the pixels of an image: the interpolated mesh and the input of networks. They are written in
   NumPy in tests/core/reference_loops.py, and tests/core/test_loops.py compares both. */
#include <Python.h>
#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifdef _WIN32
#define EXPORT __declspec(dllexport)
#else
#include <errno.h>
#include <unistd.h>
#define EXPORT __attribute__((visibility("default")))
#endif
/* Without fused multiply-adds, so that every processor gives the same bits. */
#if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__) && defined(__linux__)
#define WIDE __attribute__((target_clones("avx2", "default")))
#else
#define WIDE
#endif
typedef long long whole;
typedef unsigned char flag;

/* A row of a mesh that is interpolated along y, along x as well. */
static inline void interpolate_row(whole width, whole n_columns, const float *row, const whole *lower,
                                   const float *fraction, float *line)
{
    for (whole first = 0, end; first < width; first = end) {
        whole column = lower[first];
        float left = row[column], right = row[column + 1 < n_columns ? column + 1 : column];
        for (end = first; end < width && lower[end] == column; end++)
            ;
        for (whole x = first; x < end; x++)
            line[x] = left * (1 - fraction[x]) + right * fraction[x];
    }
}

/* The same of all rows (height, n_columns). */
EXPORT WIDE void interpolate(whole height, whole width, whole n_columns, const float *rows, const whole *lower,
                             const float *fraction, float *plane)
{
    for (; height--; rows += n_columns, plane += width)
        interpolate_row(width, n_columns, rows, lower, fraction, plane);
}

/* Rows that lie `step` bytes apart in an open file, each of `length` bytes; 0 if the file does not hold them. */
EXPORT whole read_rows(whole file, whole start, whole step, whole length, whole n_rows, char *place)
{
#ifdef _WIN32
    return 0;
#else
    for (; n_rows--; start += step)
        for (whole done = 0, count; done < length; done += count, place += count) {
            count = pread((int)file, place, (size_t)(length - done), (off_t)(start + done));
            if (count < 0 && errno == EINTR)
                count = 0;
            else if (count <= 0)
                return 0;
        }
    return 1;
#endif
}

/* Data less a mesh, times another one if there is one, where they are valid, finite and none of `voids`; else 0. */
EXPORT WIDE void less_mesh(whole height, whole width, whole n_columns, const float *data, const flag *valid,
                           const float *rows, const float *factors, const whole *lower, const float *fraction,
                           whole n_voids, const float *voids, float *light, flag *usable)
{
    float *line = malloc(sizeof(float) * width);
    for (; height--; data += width, valid += width, rows += n_columns, light += width, usable += width) {
        interpolate_row(width, n_columns, rows, lower, fraction, line);
        for (whole x = 0; x < width; x++)
            light[x] = data[x] - line[x];
        if (factors) {
            interpolate_row(width, n_columns, factors, lower, fraction, line);
            factors += n_columns;
            for (whole x = 0; x < width; x++)
                light[x] *= line[x];
        }
        for (whole x = 0; x < width; x++)
            usable[x] = valid[x] & (fabsf(light[x]) <= FLT_MAX);
        for (whole i = 0; i < n_voids; i++)
            for (whole x = 0; x < width; x++)
                usable[x] &= data[x] != voids[i];
        for (whole x = 0; x < width; x++)
            light[x] = usable[x] ? light[x] : 0;
    }
    free(line);
}

/* Natural logarithm of a number of at least 1, to its rounding (the polynomial of Cephes, Moshier 1992). */
static inline float logarithm(float value)
{
    int32_t bits, low;
    float part, square, sum, power;
    memcpy(&bits, &value, 4);
    /* A part between the roots of 1/2 and 2, and a power of two. */
    low = (bits & 0x7fffff) > 0x3504f3;
    power = (float)((bits >> 23) - 127 + low);
    bits = (bits & 0x7fffff) | (low ? 0x3f000000 : 0x3f800000);
    memcpy(&part, &bits, 4);
    part -= 1;
    square = part * part;
    sum = 7.0376836292e-2f * part - 1.1514610310e-1f;
    sum = sum * part + 1.1676998740e-1f;
    sum = sum * part - 1.2420140846e-1f;
    sum = sum * part + 1.4249322787e-1f;
    sum = sum * part - 1.6668057665e-1f;
    sum = sum * part + 2.0000714765e-1f;
    sum = sum * part - 2.4999993993e-1f;
    sum = (sum * part + 3.3333331174e-1f) * part * square;
    sum += -2.12194440e-4f * power;
    sum -= 0.5f * square;
    return part + sum + 0.693359375f * power;
}

/* Input of a network: S/N and validity of a tile, (y, x, band) by their steps from value to value, as cells of pixels:
   (image, row, column, n_stretches + 1, pixel, channel). */
EXPORT WIDE void stretch_cells(whole n_images, whole rows, whole columns, whole cell, whole n_channels,
                               whole n_stretches, const float *stretches, const float *snr, const whole *steps,
                               const flag *valid, const whole *valid_steps, float *cells)
{
    whole n = cell * cell * n_channels, width = columns * n;
    float *light = malloc(sizeof(float) * width * 3), *seen = light + width, *out = seen + width;
    for (whole image = 0; image < n_images; image++)
        for (whole row = 0; row < rows; row++, cells += width * (n_stretches + 1)) {
            for (whole k = 0, at = 0; k < columns; k++)
                for (whole dy = 0; dy < cell; dy++)
                    for (whole dx = 0; dx < cell; dx++)
                        for (whole channel = 0; channel < n_channels; channel++, at++) {
                            whole y = row * cell + dy, x = k * cell + dx, band = image + channel;
                            seen[at] = valid[y * valid_steps[0] + x * valid_steps[1] + band * valid_steps[2]];
                            light[at] = snr[y * steps[0] + x * steps[1] + band * steps[2]];
                        }
            for (whole k = 0; k < width; k++)
                light[k] = seen[k] != 0 ? light[k] : 0;
            for (whole i = 0; i <= n_stretches; i++) {
                float scale = i < n_stretches ? 1 / stretches[i] : 0;
                for (whole k = 0; k < (i < n_stretches ? width : 0); k++) {
                    float scaled = light[k] * scale, size = fabsf(scaled);
                    out[k] = copysignf(logarithm(size + sqrtf(scaled * scaled + 1)), scaled);
                }
                for (whole k = 0; k < columns; k++)
                    memcpy(cells + (k * (n_stretches + 1) + i) * n, (i < n_stretches ? out : seen) + k * n,
                           sizeof(float) * n);
            }
        }
    free(light);
}

/* Add a band in units of its noise, `sigma` or that of each pixel, to the bands before, and count it where it is. */
EXPORT WIDE void add_band(whole n_pixels, const float *data, const flag *valid, const float *rms, double sigma,
                          double *total, flag *n_bands)
{
    for (whole k = 0; k < n_pixels; k++) {
        double noise = rms ? rms[k] : sigma;
        int usable = valid[k] && noise > 0;
        total[k] += usable ? data[k] / noise : 0;
        n_bands[k] += usable;
    }
}

/* Sums of the wanted pixels of a plane, or their squares, over all rectangles from its corner on; a row and a column of
   0 come first. */
EXPORT void integrate(whole height, whole width, const float *plane, const flag *wanted, whole square, double *total)
{
    double *columns = calloc(width, sizeof(double));
    memset(total, 0, sizeof(double) * (width + 1));
    for (total += width + 1; height--; plane += width, wanted += width, total += width + 1) {
        double row = total[0] = 0;
        for (whole x = 0; x < width; x++) {
            double value = plane[x];
            columns[x] += wanted[x] ? square ? value * value : value : 0;
            total[x + 1] = row += columns[x];
        }
    }
    free(columns);
}

/* The bits of a value, or of its distance from `middle`, as a whole number in the order of the values. */
static inline uint64_t ordered(const void *values, int single, whole at, double middle, int is_distance)
{
    uint64_t bits;
    double value = single ? ((const float *)values)[at] : ((const double *)values)[at];
    if (is_distance)
        value = single ? fabsf((float)value - (float)middle) : fabs(value - middle);
    memcpy(&bits, &value, 8);
    return bits >> 63 ? ~bits : bits | 1ull << 63;
}

/* The value, or distance from `middle`, of a rank, and the next larger one, in `found`: sixteen bits after the other.
   Values are float where they are `single`, else double. */
EXPORT void two_of_rank(whole n_values, const void *values, whole single, double middle, whole is_distance, whole rank,
                        double *found)
{
    whole *counts = calloc(1 << 16, sizeof(whole)), left = rank, n = 0, n_first = 0;
    uint64_t *keys, first = 0, next = ~0ull;
    for (whole k = 0; k < n_values; k++)
        counts[ordered(values, (int)single, k, middle, (int)is_distance) >> 48]++;
    for (; left >= counts[first]; first++)
        left -= counts[first];
    rank = left;
    keys = malloc(sizeof(uint64_t) * counts[first]);
    for (whole k = 0; k < n_values; k++) {
        uint64_t key = ordered(values, (int)single, k, middle, (int)is_distance);
        if (key >> 48 == first)
            keys[n++] = key;
        next = key >> 48 > first && key < next ? key : next;
    }
    for (int shift = 32; shift >= 0; shift -= 16) {
        uint64_t part = 0;
        memset(counts, 0, sizeof(whole) << 16);
        for (whole k = 0; k < n; k++)
            if (keys[k] >> (shift + 16) == first)
                counts[keys[k] >> shift & 0xffff]++;
        for (; left >= counts[part]; part++)
            left -= counts[part];
        first = first << 16 | part;
    }
    for (whole k = 0; k < n; k++) {
        n_first += keys[k] <= first;
        next = keys[k] > first && keys[k] < next ? keys[k] : next;
    }
    free(keys);
    next = n_first > rank + 1 ? first : next;
    for (int k = 0; k < 2; k++) {
        uint64_t key = k ? next : first, bits = key >> 63 ? key ^ 1ull << 63 : ~key;
        memcpy(found + k, &bits, 8);
    }
    free(counts);
}

/* Root of a pixel in a forest of linked pixels, whose paths are made shorter. */
static int32_t root_of(int32_t *parent, int32_t pixel)
{
    while (parent[pixel] != pixel)
        pixel = parent[pixel] = parent[parent[pixel]];
    return pixel;
}

/* 1 if the pixels of a source are connected, by sides or corners, and its parts above any of the ascending levels are
   never two of `min_area` pixels or more; else 0. From the highest level down, pixels are joined to their neighbours. */
EXPORT whole stays_whole(whole height, whole width, const double *light, const flag *own, whole n_levels,
                         const double *levels, whole min_area)
{
    whole n_pixels = height * width, n_large = 0, n_parts = 0, *starts = calloc(n_levels + 2, sizeof(whole));
    int32_t *level = malloc(4 * n_pixels * sizeof(int32_t)), *order = level + n_pixels, *parent = order + n_pixels;
    int32_t *area = parent + n_pixels;
    /* How many levels a pixel is above; pixels in the order of that, the highest first. */
    for (whole k = 0; k < n_pixels; k++) {
        whole low = 0, high = n_levels;
        while (own[k] && low < high) {
            whole middle = (low + high) / 2;
            if (light[k] > levels[middle])
                low = middle + 1;
            else
                high = middle;
        }
        parent[k] = -1;
        level[k] = (int32_t)(n_levels - low);
        starts[own[k] ? level[k] + 1 : 0] += own[k];
    }
    for (whole k = 0; k <= n_levels; k++)
        starts[k + 1] += starts[k];
    for (whole k = 0; k < n_pixels; k++)
        if (own[k])
            order[starts[level[k]]++] = (int32_t)k;
    /* Now `starts` are the ends. */
    for (whole step = 0, next = 0; step <= n_levels; step++) {
        for (; next < starts[step]; next++) {
            int32_t pixel = order[next];
            whole row = pixel / width, column = pixel % width;
            parent[pixel] = pixel;
            area[pixel] = 1;
            n_parts++;
            n_large += min_area <= 1;
            for (whole y = row - (row > 0); y <= row + (row < height - 1); y++)
                for (whole x = column - (column > 0); x <= column + (column < width - 1); x++) {
                    int32_t one, other;
                    if (parent[y * width + x] < 0)
                        continue;
                    one = root_of(parent, (int32_t)(y * width + x));
                    other = root_of(parent, pixel);
                    if (one == other)
                        continue;
                    n_parts--;
                    n_large -= (area[one] >= min_area) + (area[other] >= min_area);
                    parent[other] = one;
                    area[one] += area[other];
                    n_large += area[one] >= min_area;
                }
        }
        /* What lies below all levels only tells whether the source is connected. */
        if (step < n_levels && n_large > 1) {
            n_parts = 0;
            break;
        }
    }
    free(level);
    free(starts);
    return n_parts == 1;
}

/* The arguments with arrays as the addresses of their data: `ndarray.ctypes` takes twenty times as long. */
static PyObject *addresses(PyObject *module, PyObject *const *arguments, Py_ssize_t n)
{
    PyObject *found = PyTuple_New(n);
    (void)module;
    for (Py_ssize_t k = 0; k < n && found; k++) {
        PyObject *one = arguments[k];
        Py_buffer buffer;
        if (one == Py_None || PyLong_Check(one) || PyFloat_Check(one)) {
            Py_INCREF(one);
        } else if (PyObject_GetBuffer(one, &buffer, PyBUF_FULL_RO)) {
            one = NULL;
        } else {
            /* Single numbers of NumPy have a buffer too. */
            if (buffer.ndim)
                one = PyLong_FromVoidPtr(buffer.buf);
            else
                one = (PyErr_SetString(PyExc_TypeError, "expected an array, int, float or None"), NULL);
            PyBuffer_Release(&buffer);
        }
        if (!one)
            Py_CLEAR(found);
        else
            PyTuple_SetItem(found, k, one);
    }
    return found;
}

static PyMethodDef methods[] = {
    {"addresses", (PyCFunction)(void (*)(void))addresses, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_loops", NULL, -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__loops(void)
{
    return PyModule_Create(&definition);
}
