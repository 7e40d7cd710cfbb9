/* The loops over the pixels of one source. morpheus_lite/catalog/kernels.py calls them; what each gives is written in
   NumPy beside the call, and tests/catalog/test_kernels.py compares both. Arrays are C-contiguous; planes are (y, x),
   or (y, x, band) where they have bands. */
#include <Python.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#ifdef _WIN32
#define EXPORT __declspec(dllexport)
#else
#define EXPORT __attribute__((visibility("default")))
#endif
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#define PI 3.14159265358979323846
#define MIN(a, b) ((a) < (b) ? (a) : (b))
/* Twice as fast, and the same bits. */
#if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__) && defined(__linux__)
#define WIDE __attribute__((target_clones("avx2", "default")))
#else
#define WIDE
#endif
typedef long long whole;
typedef unsigned char flag;

/* Area between the unit circle and the triangle of its centre and an edge from (x, y) to (u, v), with its sign. */
static double sector(double x, double y, double u, double v)
{
    return 0.5 * atan2(x * v - y * u, x * u + y * v);
}

static double behind_edge(double x, double y, double u, double v, int *crosses)
{
    double dx = u - x, dy = v - y, a = dx * dx + dy * dy, b = x * dx + y * dy, c = x * x + y * y - 1;
    double root = b * b - a * c, first, last, area = 0;
    if (root <= 0)
        return sector(x, y, u, v);
    root = sqrt(root);
    first = (-b - root) / a;
    last = (-b + root) / a;
    if (first >= 1 || last <= 0)
        return sector(x, y, u, v);
    *crosses |= first > 0 || last < 1;
    first = MAX(first, 0);
    last = MIN(last, 1);
    if (first > 0)
        area += sector(x, y, x + first * dx, y + first * dy);
    area += 0.5 * ((x + first * dx) * (y + last * dy) - (y + first * dy) * (x + last * dx));
    if (last < 1)
        area += sector(x + last * dx, y + last * dy, u, v);
    return area;
}

/* Share of each pixel inside an ellipse. */
EXPORT void overlap(whole height, whole width, double y, double x, double a, double b, double theta, double *share)
{
    double cosine = cos(theta), sine = sin(theta), far = 0.70710678118654757 / MIN(a, b);
    double down = hypot(a * sine, b * cosine), right = hypot(a * cosine, b * sine);
    whole top = (whole)MAX(floor(y - down + 0.5), 0), bottom = (whole)MIN(ceil(y + down - 0.5) + 1, (double)height);
    whole left = (whole)MAX(floor(x - right + 0.5), 0), end = (whole)MIN(ceil(x + right - 0.5) + 1, (double)width);
    memset(share, 0, sizeof(double) * height * width);
    for (whole row = top; row < bottom; row++)
        for (whole column = left; column < end; column++) {
            double dx = column - x, dy = row - y, u[5], v[5], area = 0;
            double middle = hypot((dx * cosine + dy * sine) / a, (dy * cosine - dx * sine) / b);
            int crosses = 0;
            if (middle >= 1 + far)
                continue;
            if (middle <= 1 - far) {
                share[row * width + column] = 1;
                continue;
            }
            for (int k = 0; k < 5; k++) {
                double px = dx + (k == 1 || k == 2 ? 0.5 : -0.5), py = dy + (k == 2 || k == 3 ? 0.5 : -0.5);
                u[k] = (px * cosine + py * sine) / a;
                v[k] = (py * cosine - px * sine) / b;
            }
            for (int k = 0; k < 4; k++)
                area += behind_edge(u[k], v[k], u[k + 1], v[k + 1], &crosses);
            if (crosses)
                area *= a * b;
            else if (u[0] * u[0] + v[0] * v[0] < 1)
                area = 1;
            else
                area = fabs(dx) < 0.5 && fabs(dy) < 0.5 ? PI * a * b : 0;
            share[row * width + column] = MIN(MAX(area, 0), 1);
        }
}

/* Light and pixels within radii `step` apart from 0 on, by the distance of each pixel. */
EXPORT void growth(whole n_pixels, const double *light, const double *distance, double step, whole half, whole n_radii,
                   double *flux, double *area)
{
    whole n_steps = n_radii + half + 1;
    double *sums = calloc(4 * (n_steps + 1), sizeof(double)), *whole_[4];
    for (int k = 0; k < 4; k++)
        whole_[k] = sums + k * (n_steps + 1) + 1;
    for (whole k = 0; k < n_pixels; k++) {
        double away = distance[k], place = away / step;
        if (place > n_steps - 2)
            continue;
        whole bin = (whole)place;
        bin += bin < place;
        whole_[0][bin] += light[k];
        whole_[1][bin] += 1;
        whole_[2][bin] += light[k] * away;
        whole_[3][bin] += away;
    }
    for (int k = 0; k < 4; k++)
        for (whole bin = 1; bin < n_steps; bin++)
            whole_[k][bin] += whole_[k][bin - 1];
    /* Wholly within is what lies half a pixel inside of the circle; what lies half a pixel outside is not within. */
    for (whole k = 0; k < n_radii; k++) {
        double inner[4], radius = k * step;
        for (int j = 0; j < 4; j++)
            inner[j] = k < half ? 0 : whole_[j][k - half];
        for (int j = 0; j < 2; j++) {
            double partly = whole_[j][k + half] - inner[j], moment = whole_[j + 2][k + half] - inner[j + 2];
            (j ? area : flux)[k] = k ? inner[j] + (radius + 0.5) * partly - moment : 0;
        }
    }
    free(sums);
}

/* Area of a circle in the rectangle between its centre and a corner. */
static double corner_area(double tall, double wide, double below, double beside, double square)
{
    return tall * tall + wide * wide < square ? tall * wide : below + beside - square * (PI / 4);
}

/* The same in circles of `n_radii` radii from `step` on, exactly: a pixel's overlap is the mixed difference over its
   corners of the area between the axes and a corner. */
EXPORT void exact_growth(whole height, whole width, const double *light, double y, double x, double step, whole n_radii,
                         double *flux, double *area)
{
    for (whole k = 0; k < n_radii; k++) {
        double radius = (k + 1) * step, square = radius * radius, found = 0, pixels = 0;
        whole top = (whole)MAX(floor(y - radius + 0.5), 0), bottom = (whole)MIN(ceil(y + radius - 0.5) + 1, (double)height);
        whole left = (whole)MAX(floor(x - radius + 0.5), 0), end = (whole)MIN(ceil(x + radius - 0.5) + 1, (double)width);
        whole n_columns = MAX(end - left, 0);
        double above[64], here[64], across[64], beside[64];
        for (whole row = top; row <= bottom && n_columns; row++) {
            double side = row - 0.5 - y, tall = MIN(fabs(side), radius);
            double below = 0.5 * (tall * sqrt(square - tall * tall) + square * asin(tall / radius));
            for (whole j = 0; j <= n_columns; j++) {
                double place = left + j - 0.5 - x;
                if (row == top) {
                    across[j] = MIN(fabs(place), radius);
                    beside[j] = 0.5 * (across[j] * sqrt(square - across[j] * across[j]) + square * asin(across[j] / radius));
                }
                here[j] = corner_area(tall, across[j], below, beside[j], square);
                if ((side < 0) != (place < 0))
                    here[j] = -here[j];
            }
            for (whole j = 0; j < n_columns && row > top; j++) {
                double share = here[j + 1] - here[j] - above[j + 1] + above[j];
                found += share * light[(row - 1) * width + left + j];
                pixels += share;
            }
            memcpy(above, here, sizeof(above));
        }
        flux[k] = found;
        area[k] = pixels;
    }
}

/* Sums of light and of its variance under weights and their squares, and the weights of pixels that are not there.
   `pixel` is the number of values from one pixel's variance to the next one's; 0 where all have the same. */
EXPORT WIDE void weighted_sums(whole n_apertures, whole n_pixels, whole n_bands, const double *weights, const double *light,
                          const double *variance, whole pixel, const flag *there, double *flux, double *spread,
                          double *missing, double *area)
{
    memset(flux, 0, sizeof(double) * n_apertures * n_bands);
    memset(spread, 0, sizeof(double) * n_apertures * n_bands);
    memset(missing, 0, sizeof(double) * n_apertures * n_bands);
    for (whole one = 0; one < n_apertures; one++) {
        double *f = flux + one * n_bands, *s = spread + one * n_bands, *m = missing + one * n_bands, pixels = 0;
        for (whole k = 0; k < n_pixels; k++) {
            double weight = weights[one * n_pixels + k];
            if (weight == 0)
                continue;
            pixels += weight;
            for (whole band = 0; band < n_bands; band++) {
                f[band] += weight * light[k * n_bands + band];
                if (there[k * n_bands + band])
                    s[band] += weight * weight * variance[k * pixel + band];
                else
                    m[band] += weight;
            }
        }
        area[one] = pixels;
    }
}

/* Shares within radii, `place` being (part of the way, lower row) of each in the table, for profiles of `n` columns;
   the result is the mean of two neighbouring sizes. */
static inline void within(const double *table, whole n_columns, whole first, double part, whole n, whole n_indices,
                   const whole *rows, const double *parts, const double *inner, whole n_radii, double *found)
{
    for (whole k = 0; k < n_radii; k++) {
        const double *low = table + rows[k] * n_columns + first * n_indices, *high = low + n_columns;
        double *out = found + k * n, up = parts[k], down = 1 - up;
        for (whole j = 0; j < n; j++)
            out[j] = ((low[j] * down + high[j] * up) * (1 - part) +
                      (low[j + n_indices] * down + high[j + n_indices] * up) * part) * inner[k];
    }
}

/* The mean profile of all that fit rings. `tables` has (assumption, band) tables, `fwhm` their widths in pixels,
   `mixture` the share of each band; `mean` and `spread` are of the share in the last radius, of all bands together and
   of each; `curve` is the mean share within the other radii. */
EXPORT WIDE void fit_profiles(whole n_assumed, whole n_bands, const double **tables, const double *fwhm, const double *prior,
                         const double *mixture, whole n_rings, const double *flux, const double *variance,
                         whole n_radii, const double *radii, double size, const double *grid, whole n_grid,
                         whole n_sizes, whole n_tried, whole n_indices, const double *log_prior, double smallest,
                         double tried, double log_step, double *mean, double *spread, double *curve)
{
    whole n = n_tried * n_indices, n_planes = n_radii + n_bands, n_columns = 2 * n_sizes * n_indices;
    double *shares = malloc(sizeof(double) * n_assumed * n_planes * n), *band = malloc(sizeof(double) * n_radii * n);
    double *likely = malloc(sizeof(double) * n_assumed * n), largest = -INFINITY, total = 0;
    double *parts = malloc(sizeof(double) * 2 * n_radii), *inner = parts + n_radii;
    whole *rows = malloc(sizeof(whole) * n_radii);
    for (whole one = 0; one < n_assumed; one++) {
        double *together = shares + one * n_planes * n, *each = together + n_radii * n;
        for (whole k = 0; k < n_bands; k++) {
            double width = fwhm[one * n_bands + k], at, *out = n_bands > 1 ? band : together;
            whole first;
            for (whole j = 0; j < n_radii; j++) {
                double ratio = radii[j] / width, place;
                place = log(MAX(ratio, grid[0])) - log(grid[0]);
                place = MIN(place / (log(grid[n_grid - 1]) - log(grid[0])) * (n_grid - 1), (double)(n_grid - 1));
                rows[j] = MIN((whole)place, n_grid - 2);
                parts[j] = place - rows[j];
                ratio = MIN(ratio / grid[0], 1);
                inner[j] = ratio * ratio;
            }
            at = MIN(MAX(log(tried * size / width / smallest) / log_step, 0), (double)(n_sizes - 1));
            first = (whole)at;
            within(tables[one * n_bands + k], n_columns, first, at - first, n, n_indices, rows, parts, inner, n_radii, out);
            memcpy(each + k * n, out + (n_radii - 1) * n, sizeof(double) * n);
            for (whole j = 0; j < n_radii * n && n_bands > 1; j++)
                together[j] = (k ? together[j] : 0) + mixture[k] * band[j];
        }
        for (whole j = 0; j < n; j++) {
            double square = 0, pull = 0, best, found = -INFINITY;
            for (whole k = 0; k < n_rings; k++) {
                double expected = together[(k + 1) * n + j] - together[k * n + j];
                square += expected * expected / variance[k];
                pull += expected * (flux[k] / variance[k]);
            }
            best = pull / square;
            if (best > 0)
                found = prior[one] + 0.5 * best * best * square - 0.5 * log(square) - log(MAX(best, 1e-30)) + log_prior[j];
            likely[one * n + j] = found;
            largest = MAX(largest, found);
        }
    }
    for (whole k = 0; k < n_assumed * n; k++)
        /* Where no profile has positive light, all are alike. */
        total += likely[k] = isinf(largest) ? 1 : exp(likely[k] - largest);
    for (whole k = 0; k < n_planes; k++) {
        double first = 0, second = 0;
        for (whole one = 0; one < n_assumed; one++)
            for (whole j = 0; j < n; j++)
                first += likely[one * n + j] * shares[(one * n_planes + k) * n + j];
        first /= total;
        if (k < n_radii - 1) {
            curve[k] = first;
            continue;
        }
        for (whole one = 0; one < n_assumed; one++)
            for (whole j = 0; j < n; j++) {
                double apart = shares[(one * n_planes + k) * n + j] - first;
                second += likely[one * n + j] * apart * apart;
            }
        mean[k - n_radii + 1] = first;
        spread[k - n_radii + 1] = second / total;
    }
    free(shares);
    free(band);
    free(likely);
    free(parts);
    free(rows);
}

/* Sum of the absolute differences of light, in the columns `first` to `last` of each row from `top` on, from the light
   turned by 180 degrees about a centre; `turned` is the light turned, `margin` pixels more on all sides. */
static double difference(const double *light, whole width, const double *turned, whole t_width, whole t_row,
                         whole t_column, whole top, whole n_rows, const whole *first, const whole *last, double y, double x)
{
    double down = 2 * y, right = 2 * x, up, across, sum = 0;
    whole row = (whole)floor(down), column = (whole)floor(right);
    up = down - row;
    across = right - column;
    for (whole k = 0; k < n_rows; k++) {
        const double *own = light + (top + k) * width;
        const double *near = turned + (top + k + t_row - row) * t_width + t_column - column, *before = near - t_width;
        for (whole j = first[k]; j < last[k]; j++) {
            double here = near[j] + across * (near[j - 1] - near[j]);
            double other = before[j] + across * (before[j - 1] - before[j]);
            sum += fabs(here + up * (other - here) - own[j]);
        }
    }
    return sum;
}

/* The centre about which the light in a circle differs least from itself turned, from `centre` on, to 1/16 pixel. */
EXPORT double best_centre(whole height, whole width, const double *light, const flag *circle, double *centre)
{
    const int reach = 30, most_moves = 6;
    whole *first = malloc(sizeof(whole) * 2 * height), *last = first + height, top = height, bottom = 0;
    whole left = width, end = 0, t_row, t_column, t_height, t_width;
    double *turned, value = INFINITY;
    for (whole row = 0; row < height; row++) {
        whole from = width, to = 0;
        for (whole column = 0; column < width; column++)
            if (circle[row * width + column]) {
                from = MIN(from, column);
                to = column + 1;
            }
        first[row] = from;
        last[row] = to;
        if (from >= to)
            continue;
        top = MIN(top, row);
        bottom = row + 1;
        left = MIN(left, from);
        end = MAX(end, to);
    }
    /* Pixel (row, column) is turned to row `t_row - floor(2 y) + row` of the turned light, and so for columns. */
    t_row = (whole)floor(2 * centre[0]) - top + reach;
    t_column = (whole)floor(2 * centre[1]) - left + reach;
    t_height = bottom - top + 2 * reach;
    t_width = end - left + 2 * reach;
    turned = calloc(t_height * t_width, sizeof(double));
    for (whole row = 0; row < t_height; row++)
        for (whole column = 0; column < t_width; column++) {
            whole from = t_row - row, at = t_column - column;
            if (from >= 0 && from < height && at >= 0 && at < width)
                turned[row * t_width + column] = light[from * width + at];
        }
    for (double step = 1; step >= 0.0625; step /= 2)
        for (int move = 0; move < most_moves; move++) {
            double least = INFINITY, values[9];
            int where = 0;
            for (int k = 0; k < 9; k++) {
                values[k] = difference(light, width, turned, t_width, t_row, t_column, top, bottom - top, first + top,
                                       last + top, centre[0] + step * (k / 3 - 1), centre[1] + step * (k % 3 - 1));
                if (values[k] < least) {
                    least = values[k];
                    where = k;
                }
            }
            value = MIN(value, values[4]);
            if (!(least < value))
                break;
            centre[0] += step * (where / 3 - 1);
            centre[1] += step * (where % 3 - 1);
            value = least;
        }
    free(turned);
    free(first);
    return value;
}

/* Centroid under a Gaussian window, from `place` (x, y) on: 0 where it is lost. `spread` are the variances under the
   squared window along x and y, `sums` the light under the window and its area. */
EXPORT WIDE whole windowed(whole height, whole width, const double *light, const double *variance, double sigma,
                    double furthest, double *place, double *spread, double *sums)
{
    double x = place[0], y = place[1], factor = -0.5 / (sigma * sigma), wide = 0, tall = 0, total = 0;
    double *across = malloc(sizeof(double) * 2 * (width + height)), *right = across + width;
    double *along = right + width, *down = along + height;
    for (int turn = 0; turn < 20; turn++) {
        double dx = 0, dy = 0;
        total = 0;
        for (whole k = 0; k < width; k++) {
            across[k] = exp(factor * (k - x) * (k - x));
            right[k] = across[k] * (k - x);
        }
        for (whole k = 0; k < height; k++) {
            along[k] = exp(factor * (k - y) * (k - y));
            down[k] = along[k] * (k - y);
        }
        for (whole row = 0; row < height; row++) {
            double sum = 0, moment = 0;
            for (whole k = 0; k < width; k++) {
                sum += light[row * width + k] * across[k];
                moment += light[row * width + k] * right[k];
            }
            total += along[row] * sum;
            dx += along[row] * moment;
            dy += down[row] * sum;
        }
        if (!(total > 0))
            break;
        dx *= 2 / total;
        dy *= 2 / total;
        x += dx;
        y += dy;
        if (hypot(x - place[0], y - place[1]) > furthest) {
            total = 0;
            break;
        }
        if (MAX(fabs(dx), fabs(dy)) < 1e-4)
            break;
    }
    spread[0] = spread[1] = 0;
    for (whole row = 0; row < height && total > 0; row++) {
        double sum = 0, moment = 0;
        for (whole k = 0; k < width; k++) {
            sum += variance[row * width + k] * across[k] * across[k];
            moment += variance[row * width + k] * right[k] * right[k];
        }
        spread[0] += along[row] * along[row] * moment;
        spread[1] += down[row] * down[row] * sum;
    }
    for (whole k = 0; k < width; k++)
        wide += across[k];
    for (whole k = 0; k < height; k++)
        tall += along[k];
    sums[0] = total;
    sums[1] = tall * wide;
    place[0] = x;
    place[1] = y;
    free(across);
    return total > 0;
}

/* Sum of the absolute values of differences with noise that has a scatter of `sigma` in each pixel, where the
   differences are a share of the mean light of the ring that the pixel lies in. */
static double expected(whole n_pixels, const double *sigma, const whole *ring, const double *means, double share)
{
    double sum = 0, last[16], value[16];
    for (int k = 0; k < 16; k++)
        last[k] = -1;
    for (whole k = 0; k < n_pixels; k++) {
        whole in = ring[k];
        if (sigma[k] != last[in]) {
            double size = share * means[in], noise = last[in] = sigma[k], ratio = size / noise;
            value[in] = size;
            if (noise > 0)
                value[in] = sqrt(2 / PI) * noise * exp(-0.5 * ratio * ratio) + size * erf(ratio / sqrt(2));
        }
        sum += value[in];
    }
    return sum;
}

/* The sum of absolute differences that is `found` with noise, without it. */
EXPORT double without_noise(whole n_pixels, const double *sigma, const whole *ring, const double *means,
                            const double *shares, whole n_shares, double found)
{
    double noise = expected(n_pixels, sigma, ring, means, shares[0]), below = noise, above, part = 0, sum = 0;
    whole low = 0, high = n_shares - 1;
    if (found <= noise)
        return found - noise;
    above = expected(n_pixels, sigma, ring, means, shares[high]);
    while (high - low > 1) {
        whole middle = (low + high) / 2;
        double at = expected(n_pixels, sigma, ring, means, shares[middle]);
        if (found < at) {
            high = middle;
            above = at;
        } else {
            low = middle;
            below = at;
        }
    }
    if (above > below)
        part = MIN(MAX((found - below) / (above - below), 0), 1);
    for (whole k = 0; k < n_pixels; k++)
        sum += means[ring[k]];
    return (shares[low] + part * (shares[high] - shares[low])) * sum;
}

/* Distance of each pixel from a centre in units of an ellipse, whose major axis is 1 and which is `ratio` as long. */
EXPORT WIDE void distances(whole height, whole width, double y, double x, double cosine, double sine, double ratio,
                           double unit, double *distance)
{
    for (whole row = 0; row < height; row++)
        for (whole column = 0; column < width; column++) {
            double dy = row - y, dx = column - x, along = dx * cosine + dy * sine, across = (dy * cosine - dx * sine) * ratio;
            distance[row * width + column] = sqrt(along * along + across * across) / unit;
        }
}

/* Replace the light of wanted pixels by that opposite a centre; `covered` tells which pixels have light then. */
EXPORT void mirror(whole height, whole width, whole n_bands, double *light, flag *covered, const flag *usable,
                   const flag *wanted, const flag *neighbor, double y, double x)
{
    for (whole row = 0; row < height; row++)
        for (whole column = 0; column < width; column++) {
            whole pixel = row * width + column, other;
            double up = rint(2 * y - row), across = rint(2 * x - column);
            int inside = up >= 0 && up < height && across >= 0 && across < width;
            if (!wanted[pixel])
                continue;
            other = inside ? (whole)up * width + (whole)across : 0;
            inside = inside && !neighbor[other];
            for (whole band = 0; band < n_bands; band++) {
                int there = usable[other * n_bands + band];
                light[pixel * n_bands + band] = inside && there ? light[other * n_bands + band] : 0;
                if (inside)
                    covered[pixel * n_bands + band] = there;
            }
        }
}

typedef struct {
    double value, away, variance;
    whole pixel;
    flag higher;
} Pixel;

static int brighter(const void *one, const void *other)
{
    const Pixel *a = one, *b = other;
    if (a->value != b->value)
        return a->value < b->value ? 1 : -1;
    return a->pixel < b->pixel ? 1 : -1;
}

/* Gini coefficient and M20 of pixels from the brightest on, and the sums of the squares of their slopes over the noise;
   `only_higher` leaves the others out. */
static void gini_and_m20_of(whole n_pixels, const Pixel *pixels, int only_higher, double *gini, double *m20)
{
    double total = 0, size = 0, sum = 0, whole_moment = 0, core = 0, square = 0, edge = 0, light = 0, last = 0;
    whole n = 0, first = 0, end = n_pixels - 1, rank, n_bright = 0;
    double *ranks = malloc(sizeof(double) * (n_pixels + 1));
    gini[0] = gini[1] = m20[0] = m20[1] = m20[2] = NAN;
    for (whole k = 0; k < n_pixels; k++)
        if (!only_higher || pixels[k].higher) {
            n++;
            total += pixels[k].value;
            size += fabs(pixels[k].value);
            whole_moment += pixels[k].value * pixels[k].away;
        }
    /* The largest absolute value is that of the brightest or of the faintest that are left. */
    for (rank = n; n > 1 && size > 0 && first <= end;) {
        whole at = fabs(pixels[first].value) > fabs(pixels[end].value) ? first++ : end--;
        if (only_higher && !pixels[at].higher)
            continue;
        ranks[at] = (2.0 * rank-- - n - 1) / (n - 1);
        sum += ranks[at] * fabs(pixels[at].value);
    }
    if (n > 1 && size > 0) {
        gini[0] = sum / size;
        for (whole k = 0; k < n_pixels; k++)
            if (!only_higher || pixels[k].higher)
                square += (ranks[k] - gini[0]) * (ranks[k] - gini[0]) * pixels[k].variance;
        gini[1] = square / (size * size);
    }
    free(ranks);
    for (whole k = 0; k < n_pixels && total > 0; k++) {
        if (only_higher && !pixels[k].higher)
            continue;
        light += pixels[k].value;
        if (light > 0.2 * total)
            break;
        n_bright = k + 1;
        edge = pixels[k].away;
        last = pixels[k].value * edge;
        core += last;
    }
    if (!n_bright || !(whole_moment > 0) || !(core > 0))
        return;
    m20[0] = log10(core / whole_moment);
    square = 0;
    for (whole k = 0; k < n_pixels; k++) {
        double slope = -pixels[k].away / whole_moment + 0.2 * edge / core;
        if (k < n_bright)
            slope += (pixels[k].away - edge) / core;
        if (!only_higher || pixels[k].higher)
            square += slope * slope * pixels[k].variance;
    }
    m20[1] = square / (log(10) * log(10));
    /* One pixel more or less: even chances within its share. */
    m20[2] = log10(1 + last / core) / sqrt(12);
}

/* `ndimage.gaussian_filter` with zeros outside. */
WIDE static void smooth_light(whole height, whole width, const double *light, double sigma, double *smooth)
{
    whole reach = (whole)(4 * sigma + 0.5);
    double *kernel = malloc(sizeof(double) * (reach + 1)), *half = calloc(height * width, sizeof(double)), sum = 0;
    for (whole k = 0; k <= reach; k++)
        sum += (k ? 2 : 1) * (kernel[k] = exp(-0.5 / (sigma * sigma) * k * k));
    memset(smooth, 0, sizeof(double) * height * width);
    for (whole row = 0; row < height; row++)
        for (whole k = -reach; k <= reach; k++) {
            double weight = kernel[k < 0 ? -k : k] / sum, *out = half + row * width;
            const double *in = light + (row + k) * width;
            for (whole column = 0; column < width && row + k >= 0 && row + k < height; column++)
                out[column] += weight * in[column];
        }
    for (whole row = 0; row < height; row++)
        for (whole k = -reach; k <= reach; k++) {
            double weight = kernel[k < 0 ? -k : k] / sum, *out = smooth + row * width, *in = half + row * width + k;
            for (whole column = MAX(-k, 0); column < MIN(width, width - k); column++)
                out[column] += weight * in[column];
        }
    free(half);
    free(kernel);
}

/* Gini coefficient and M20 of the pixels that belong together at a radius; the number of these pixels. `doubt` is that
   of the brightness there; `gini` and `m20` are as above, and behind them those of the pixels above it. */
EXPORT whole gini_and_m20(whole height, whole width, const double *light, const double *distance,
                          const double *variance, double radius, double sigma, double doubt, double *gini, double *m20)
{
    whole n_pixels = height * width, n = 0, n_ring = 0, start = 0, n_open = 0;
    double *smooth = malloc(sizeof(double) * n_pixels), level = 0, top = -INFINITY, y = 0, x = 0, total = 0;
    whole *open = malloc(sizeof(whole) * n_pixels);
    flag *seen = calloc(n_pixels, 1);
    Pixel *pixels = NULL;
    smooth_light(height, width, light, sigma, smooth);
    for (whole k = 0; k < n_pixels; k++) {
        if (fabs(distance[k] - radius) <= 0.5) {
            level += smooth[k];
            n_ring++;
        }
        if (distance[k] <= radius && smooth[k] > top) {
            top = smooth[k];
            start = k;
        }
    }
    level /= n_ring;
    if (n_ring && smooth[start] >= level) {
        pixels = malloc(sizeof(Pixel) * n_pixels);
        open[n_open++] = start;
        seen[start] = 1;
    }
    while (n_open) {
        whole at = open[--n_open], row = at / width, column = at % width;
        const whole beside[4] = {row ? at - width : -1, row < height - 1 ? at + width : -1,
                                 column ? at - 1 : -1, column < width - 1 ? at + 1 : -1};
        for (int k = 0; k < 4; k++)
            if (beside[k] >= 0 && !seen[beside[k]] && smooth[beside[k]] >= level) {
                seen[beside[k]] = 1;
                open[n_open++] = beside[k];
            }
    }
    for (whole k = 0; k < n_pixels && pixels; k++)
        if (seen[k]) {
            pixels[n++] = (Pixel){light[k], 0, variance[k], k, smooth[k] >= level * (1 + doubt)};
            total += light[k];
        }
    for (int part = 0; part < 2 && n; part++) {
        /* The light-weighted mean is the centre that makes the second moment smallest. */
        total = y = x = 0;
        for (whole k = 0; k < n; k++)
            if (!part || pixels[k].higher) {
                total += pixels[k].value;
                y += pixels[k].value * (pixels[k].pixel / width);
                x += pixels[k].value * (pixels[k].pixel % width);
            }
        for (whole k = 0; k < n; k++) {
            double dy = pixels[k].pixel / width - y / total, dx = pixels[k].pixel % width - x / total;
            pixels[k].away = dy * dy + dx * dx;
        }
        if (!part)
            qsort(pixels, n, sizeof(Pixel), brighter);
        gini_and_m20_of(n, pixels, part, gini + 2 * part, m20 + 3 * part);
    }
    free(pixels);
    free(seen);
    free(open);
    free(smooth);
    return n;
}

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_kernels", NULL, -1, NULL, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__kernels(void)
{
    return PyModule_Create(&definition);
}
