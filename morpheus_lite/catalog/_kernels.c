/* The loops over the pixels of one source. morpheus_lite/catalog/kernels.py loads them; what each gives is written in
   NumPy in tests/catalog/reference_kernels.py and reference_stamps.py, and test_kernels.py and test_stamps.py compare
   both. Arrays are C-contiguous; planes are (y, x), or (y, x, band) where they have bands. */
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
            double along = (dx * cosine + dy * sine) / a, across = (dy * cosine - dx * sine) / b;
            double middle = along * along + across * across;
            int crosses = 0;
            if (middle >= (1 + far) * (1 + far))
                continue;
            if (far <= 1 && middle <= (1 - far) * (1 - far)) {
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
    /* Light, pixels, and both times the distance, of the pixels up to each radius. */
    whole n_steps = n_radii + half + 1;
    double (*sums)[4] = (double (*)[4])calloc(n_steps, 4 * sizeof(double)), nothing[4] = {0};
    for (whole k = 0; k < n_pixels; k++) {
        double away = distance[k], place = away / step;
        if (!(place <= n_steps - 2))
            continue;
        whole bin = (whole)place;
        bin += bin < place;
        sums[bin][0] += light[k];
        sums[bin][1] += 1;
        sums[bin][2] += light[k] * away;
        sums[bin][3] += away;
    }
    for (whole bin = 1; bin < n_steps; bin++)
        for (int k = 0; k < 4; k++)
            sums[bin][k] += sums[bin - 1][k];
    /* Wholly within is what lies half a pixel inside of the circle; what lies half a pixel outside is not within. */
    for (whole k = 0; k < n_radii; k++) {
        const double *outer = sums[k + half], *inner = k < half ? nothing : sums[k - half];
        double radius = k * step;
        for (int j = 0; j < 2; j++) {
            double partly = outer[j] - inner[j], moment = outer[j + 2] - inner[j + 2];
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
    double *likely = malloc(sizeof(double) * (n_assumed + 2) * n), largest = -INFINITY, total = 0;
    double *squares = likely + n_assumed * n, *pulls = squares + n;
    double *parts = malloc(sizeof(double) * 2 * n_radii), *inner = parts + n_radii;
    whole *rows = malloc(sizeof(whole) * (n_radii + n_assumed * n)), *kept = rows + n_radii, n_kept = 0;
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
        memset(squares, 0, sizeof(double) * 2 * n);
        for (whole k = 0; k < n_rings; k++) {
            double precision = 1 / variance[k], pull = flux[k] / variance[k];
            const double *low = together + k * n, *high = low + n;
            for (whole j = 0; j < n; j++) {
                double expected = high[j] - low[j];
                squares[j] += expected * expected * precision;
                pulls[j] += expected * pull;
            }
        }
        for (whole j = 0; j < n; j++) {
            double best = pulls[j] / squares[j], found = -INFINITY;
            if (best > 0)
                found = prior[one] + 0.5 * best * best * squares[j] - log(sqrt(squares[j]) * MAX(best, 1e-30)) + log_prior[j];
            likely[one * n + j] = found;
            largest = MAX(largest, found);
        }
    }
    for (whole k = 0; k < n_assumed * n; k++) {
        /* Where no profile has positive light, all are alike; what is less likely by e^-60 adds no digit. */
        if (!isinf(largest) && !(likely[k] > largest - 60))
            continue;
        total += likely[n_kept] = isinf(largest) ? 1 : exp(likely[k] - largest);
        kept[n_kept++] = (k / n) * n_planes * n + k % n;
    }
    for (whole k = 0; k < n_planes; k += 4) {
        /* Four planes at a time: one sum would wait for the one before. */
        double first[4] = {0}, second[4] = {0};
        const double *planes[4];
        for (int m = 0; m < 4; m++)
            planes[m] = shares + MIN(k + m, n_planes - 1) * n;
        for (whole j = 0; j < n_kept; j++)
            for (int m = 0; m < 4; m++)
                first[m] += likely[j] * planes[m][kept[j]];
        for (int m = 0; m < 4; m++)
            first[m] /= total;
        for (whole j = 0; j < n_kept && k + 3 >= n_radii - 1; j++)
            for (int m = 0; m < 4; m++)
                second[m] += likely[j] * (planes[m][kept[j]] - first[m]) * (planes[m][kept[j]] - first[m]);
        for (whole m = k; m < MIN(k + 4, n_planes); m++)
            if (m < n_radii - 1) {
                curve[m] = first[m - k];
            } else {
                mean[m - n_radii + 1] = first[m - k];
                spread[m - n_radii + 1] = second[m - k] / total;
            }
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
   squared window along x and y, `sums` the light under the window and its area. Rows are `step` values apart. */
static WIDE whole centroid_in(whole height, whole width, whole step, const double *light, const double *variance,
                              double sigma, double furthest, double *place, double *spread, double *sums)
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
                sum += light[row * step + k] * across[k];
                moment += light[row * step + k] * right[k];
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
            sum += variance[row * step + k] * across[k] * across[k];
            moment += variance[row * step + k] * right[k] * right[k];
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

EXPORT whole windowed(whole height, whole width, const double *light, const double *variance, double sigma,
                      double furthest, double *place, double *spread, double *sums)
{
    return centroid_in(height, width, width, light, variance, sigma, furthest, place, spread, sums);
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
    /* Numbers of columns that are 32 bits long are converted side by side. */
    const int n_columns = (int)width;
    for (whole row = 0; row < height; row++)
        for (int column = 0; column < n_columns; column++) {
            double dy = row - y, dx = column - x, along = dx * cosine + dy * sine, across = (dy * cosine - dx * sine) * ratio;
            distance[row * width + column] = sqrt(along * along + across * across);
        }
    for (whole k = 0; k < height * width && unit != 1; k++)
        distance[k] /= unit;
}

/* Replace the light of wanted pixels by that opposite a centre; `covered` tells which pixels have light then. */
static void mirror(whole height, whole width, whole n_bands, double *light, flag *covered, const flag *usable,
                   const flag *wanted, const flag *neighbor, double y, double x)
{
    for (whole row = 0; row < height; row++)
        for (whole column = 0; column < width; column++) {
            whole pixel = row * width + column, other;
            double up, across;
            int inside;
            if (!wanted[pixel])
                continue;
            up = rint(2 * y - row);
            across = rint(2 * x - column);
            inside = up >= 0 && up < height && across >= 0 && across < width;
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

/* Pixels of a source and of its neighbours; no light where it is not usable. `variance` holds the noise of each pixel
   and becomes its square, where it is known: elsewhere the mean of the band, or that of the sky; NULL without noise.
   1 if all pixels are usable. */
EXPORT whole open_stamp(whole height, whole width, whole n_bands, const int *labels, whole label, const flag *usable,
                        double *light, double *variance, const double *sigmas, flag *source, flag *neighbor)
{
    whole n_pixels = height * width, complete = 1;
    for (whole k = 0; k < n_pixels; k++) {
        source[k] = labels[k] == label;
        neighbor[k] = labels[k] != label && labels[k] != 0;
    }
    for (whole k = 0; k < n_pixels * n_bands; k++)
        if (!usable[k]) {
            light[k] = 0;
            complete = 0;
        }
    for (whole band = 0; band < n_bands && variance; band++) {
        double sum = 0, n = 0, missing;
        for (whole k = band; k < n_pixels * n_bands; k += n_bands) {
            variance[k] = usable[k] ? variance[k] * variance[k] : 0;
            if (variance[k] > 0) {
                sum += variance[k];
                n++;
            }
        }
        missing = n > 0 ? sum / n : sigmas[band] * sigmas[band];
        for (whole k = band; k < n_pixels * n_bands && n < n_pixels; k += n_bands)
            if (!(variance[k] > 0))
                variance[k] = missing;
    }
    return complete;
}

/* The detection image of a stamp and its variance, and the light of each band; in the place of neighbours, and of what
   no band covers, what lies opposite the centre. `there` and `covered` tell which pixels have light then.
   `weights_step` is as `pixel` is above. */
EXPORT void fill_stamp(whole height, whole width, whole n_bands, double *light, const double *variance,
                        whole variance_step, const flag *usable, const double *weights, whole weights_step,
                        const flag *neighbor, double y, double x, flag *covered, double *detection, double *noise,
                        flag *there)
{
    whole n_pixels = height * width;
    flag *wanted = malloc(2 * n_pixels), *seen = wanted + n_pixels;
    for (whole k = 0; k < n_pixels; k++) {
        const double *weight = weights + k * weights_step, *own = light + k * n_bands, *each = variance + k * variance_step;
        double sum = 0, spread = 0;
        flag any = 0;
        for (whole band = 0; band < n_bands; band++) {
            sum += weight[band] * own[band];
            spread += weight[band] > 0 ? weight[band] * weight[band] * each[band] : 0;
            any |= usable[k * n_bands + band];
        }
        detection[k] = sum;
        noise[k] = spread;
        seen[k] = any;
        wanted[k] = neighbor[k] || !any;
    }
    memcpy(there, seen, n_pixels);
    memcpy(covered, usable, n_pixels * n_bands);
    mirror(height, width, 1, detection, there, seen, wanted, neighbor, y, x);
    mirror(height, width, n_bands, light, covered, usable, neighbor, neighbor, y, x);
    free(wanted);
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

/* What holds for all rows of a catalogue. catalog/stamps.py fills it, in this order, from constants and
   options. Functions named in brackets below are those of tests/catalog/reference_stamps.py. */
typedef struct {
    double kron_scale, kron_smallest, kron_reach, kron_largest, nothing, half_light, window_reach, narrowest;
    double step, half, n_exact, has_structure, extent, smoothing, smallest_reach, steepness, most_doubt, centring, n_rings;
    double snr_concentration, snr_asymmetry, snr_gini, snr_m20;
    double innermost, total_reach, ring_floor, smallest_fwhm, pixel_fwhm, doubt, floor, n_parts, n_beyond;
    double n_assumed, n_fitted, by_size, n_grid, n_sizes, n_tried, n_indices, smallest, tried, log_step;
    double n_radii, n_shares, noise_width, has_background;
} Settings;

/* Planes of one stamp. `variance_step` and `weights_step` are as `pixel` is in `weighted_sums`; `per_band` is room for
   one number of each band and one more. */
typedef struct {
    whole height, width, n_bands;
    const double *light, *variance, *weights, *detection, *noise;
    const flag *covered, *usable, *source, *neighbor;
    whole variance_step, weights_step;
    double y, x, a, b, theta;
    double *per_band;
} Stamp;

/* Noise of sums (`CorrelatedNoise`): a row holds the number of squares measured, the slope beyond the largest, the
   inverse of the gain, and the logarithms of the sides and of the factors. */
static double noise_factor(const double *noise, double area)
{
    whole n = (whole)noise[0], k = 0;
    const double *sides = noise + 3, *factors = sides + n;
    double side = 0.5 * log(MAX(area, 1)), part;
    while (k < n && sides[k] <= side)
        k++;
    if (k == 0 || k == n)
        return exp(factors[MAX(k - 1, 0)] + noise[1] * MAX(side - sides[n - 1], 0));
    part = (side - sides[k - 1]) / (sides[k] - sides[k - 1]);
    return exp(factors[k - 1] + part * (factors[k] - factors[k - 1]));
}

/* Variance of a sum over an area, of pixels that have this one. */
static double variance_of(const double *noise, double pixel, double area)
{
    double factor = noise_factor(noise, area);
    return pixel * area * factor * factor;
}

/* Curve of growth (`CurveOfGrowth`): `n` radii, `step` apart from 0 on. */
typedef struct {
    whole n;
    double step, *flux, *area;
} Curve;

static Curve grow(const Settings *set, whole n_pixels, const double *light, const double *distance, double largest)
{
    Curve curve = {(whole)ceil((MAX(largest, 2) + set->step / 2) / set->step), set->step, NULL, NULL};
    curve.flux = malloc(2 * curve.n * sizeof(double));
    curve.area = curve.flux + curve.n;
    growth(n_pixels, light, distance, set->step, (whole)set->half, curve.n, curve.flux, curve.area);
    return curve;
}

/* `curve_of_growth`: exact in small circles; `distance` is room for one plane. */
static Curve grow_circles(const Settings *set, const Stamp *stamp, const double *light, double y, double x,
                          double largest, double *distance)
{
    Curve curve;
    distances(stamp->height, stamp->width, y, x, 1, 0, 1, 1, distance);
    curve = grow(set, stamp->height * stamp->width, light, distance, largest);
    exact_growth(stamp->height, stamp->width, light, y, x, set->step, MIN((whole)set->n_exact, curve.n - 1),
                 curve.flux + 1, curve.area + 1);
    return curve;
}

/* Value at a radius, between `n` values that are `step` apart; the last one beyond them. */
static double at_radius(const double *values, whole n, double step, double radius)
{
    double place = MIN(MAX(radius / step, 0), n - 1.0);
    whole k = MAX(MIN((whole)place, n - 2), 0);
    return isnan(radius) ? NAN : values[k] + (place - k) * (values[k + 1] - values[k]);
}

/* Smallest radius up to `below` that holds this much light; NaN where none does. */
static double radius_of(Curve curve, double flux, double below)
{
    whole end = below < curve.n * curve.step ? (whole)floor(below / curve.step) + 1 : curve.n, k = 0;
    end = MIN(end, curve.n);
    while (k < end && !(curve.flux[k] >= flux))
        k++;
    if (!(flux > 0) || k == 0 || k >= end)
        return NAN;
    return curve.step * (k - 1 + (flux - curve.flux[k - 1]) / (curve.flux[k] - curve.flux[k - 1]));
}

/* Its error: light inside counts by 1 - share, that outside by share; the slope of the curve tells the radius. */
static double radius_error(Curve curve, double radius, double share, double area, const double *noise, double pixel)
{
    double step = MAX(1, 0.15 * radius), inner = MAX(radius - step, 0), inside, scatter, slope = NAN;
    double outer = MIN(radius + step, (curve.n - 1) * curve.step);
    if (outer > inner)
        slope = (at_radius(curve.flux, curve.n, curve.step, outer) - at_radius(curve.flux, curve.n, curve.step, inner)) /
                (outer - inner);
    if (isnan(radius) || !(slope > 0))
        return NAN;
    inside = MIN(at_radius(curve.area, curve.n, curve.step, radius), area);
    scatter = (1 - share) * (1 - share) * variance_of(noise, pixel, inside) +
              share * share * variance_of(noise, pixel, MAX(area - inside, 0));
    return sqrt(scatter) / slope;
}

/* Brightness of a ring one pixel wide over the mean brightness within, and that mean, from the radius of one pixel on;
   `found` has room for both, `*n` are how many. */
static void brightness(Curve curve, whole half, double *found, whole *n)
{
    *n = MAX(curve.n - 3 * half, 0);
    for (whole k = 0; k < *n; k++) {
        const double *flux = curve.flux + k, *area = curve.area + k;
        double ring = (flux[3 * half] - flux[half]) / (area[3 * half] - area[half]), mean = flux[2 * half] / area[2 * half];
        found[k] = mean > 0 ? ring / mean : NAN;
        found[*n + k] = mean;
    }
}

/* Petrosian radius, where the brightness is 0.2 of the mean within, and its error if `error` is not NULL. */
static double petrosian(const Settings *set, Curve curve, const double *noise, double pixel, double *error)
{
    const double eta = 0.2;
    whole half = (whole)set->half, n, k = 0;
    double *ratio = malloc(2 * curve.n * sizeof(double)), first = 2 * half * curve.step, radius = NAN;
    brightness(curve, half, ratio, &n);
    while (k < n && !(ratio[k] <= eta))
        k++;
    if (k > 0 && k < n)
        radius = first + curve.step * (k - 1 + (ratio[k - 1] - eta) / (ratio[k - 1] - ratio[k]));
    if (error) {
        double step = MAX(1, 0.15 * radius), last = first + (n - 1) * curve.step, ring = 2 * PI * radius, fall, scatter;
        for (k = 0; k < n; k++)
            ratio[k] = isfinite(ratio[k]) ? ratio[k] : 0;
        fall = at_radius(ratio, n, curve.step, radius - step - first) - at_radius(ratio, n, curve.step, radius + step - first);
        fall /= MIN(radius + step, last) - MAX(radius - step, first);
        scatter = sqrt(variance_of(noise, pixel, ring)) / ring / at_radius(ratio + n, n, curve.step, radius - first);
        *error = fall > 0 ? scatter / fall : NAN;
    }
    free(ratio);
    return radius;
}

/* `sum_light`: sums in one aperture of light less the sky, their errors and shares covered; (band,) each. */
static void sum_aperture(const Settings *set, const Stamp *stamp, const double *weights, const flag *there,
                         const double *background, const double *noise, double *flux, double *error, double *covered)
{
    double area, *missing = stamp->per_band;
    weighted_sums(1, stamp->height * stamp->width, stamp->n_bands, weights, stamp->light, stamp->variance,
                  stamp->variance_step, there, flux, error, missing, &area);
    for (whole band = 0; band < stamp->n_bands; band++) {
        const double *row = noise + band * (whole)set->noise_width;
        double own = area - missing[band], factor;
        own = own < set->nothing * area ? 0 : own;
        factor = noise_factor(row, own);
        flux[band] -= background ? own * background[band] : 0;
        error[band] = sqrt(error[band] * factor * factor + MAX(flux[band], 0) * row[2]);
        if (!(own > 0))
            flux[band] = error[band] = NAN;
        covered[band] = area > 0 ? own / area : NAN;
    }
}

/* Share of the light in the Kron ellipse on pixels with data in each band, and in any (`_light_covered`). */
static void light_covered(const Stamp *stamp, const double *kron, const double *light, const double *covered, double *found)
{
    whole n_bands = stamp->n_bands;
    double total = 0, *sums = stamp->per_band, most = covered[0];
    int complete;
    for (whole band = 1; band < n_bands; band++)
        most = isnan(most) || covered[band] <= most ? most : covered[band];
    memcpy(found, covered, n_bands * sizeof(double));
    found[n_bands] = most;
    complete = 1;
    for (whole band = 0; band <= n_bands; band++)
        complete = complete && found[band] == 1;
    if (complete)
        return;
    memset(sums, 0, (n_bands + 1) * sizeof(double));
    for (whole k = 0; k < stamp->height * stamp->width; k++) {
        double here = kron[k] * light[k];
        int any = 0;
        total += here;
        for (whole band = 0; band < n_bands; band++) {
            sums[band] += stamp->covered[k * n_bands + band] ? here : 0;
            any = any || stamp->usable[k * n_bands + band];
        }
        sums[n_bands] += any ? here : 0;
    }
    for (whole band = 0; band <= n_bands && total > 0; band++)
        if (found[band] > 0 && found[band] < 1)
            found[band] = MIN(MAX(sums[band] / total, 0), 1);
}

/* The bands of a plane with bands as one, by the weights of the stamp (`summed`). */
static void add_bands(const Stamp *stamp, const double *planes, double *sum)
{
    for (whole k = 0; k < stamp->height * stamp->width; k++) {
        const double *weight = stamp->weights + k * stamp->weights_step, *value = planes + k * stamp->n_bands;
        sum[k] = weight[0] * value[0];
        for (whole band = 1; band < stamp->n_bands; band++)
            sum[k] += weight[band] * value[band];
    }
}

/* What is measured of one source, in the order of `_NUMBERS` in catalog/stamps.py. */
typedef struct {
    double kron_radius, kron_hidden, half_light, half_light_error, snr, total, total_error;
    double radius, radius_error, concentration, concentration_error, asymmetry, asymmetry_error;
    double gini, gini_error, m20, m20_error, centroid_error[2], windowed[2], windowed_error[2];
} Numbers;

/* What holds for all rows, as arrays: noise of each band and of the detection image, radii of the circles, shares that
   `without_noise` tries, parts of the rings and radii beyond them, and what `fit_profiles` takes. */
typedef struct {
    const double *noise, *radii, *shares, *parts, *beyond, *widths, *prior, *grid, *log_prior, **tables;
} Given;

/* First moment of the light in an ellipse (`kron_radius`). */
static double kron_moment(const Settings *set, const Stamp *stamp, const double *away)
{
    double total = 0, moment = 0;
    for (whole k = 0; k < stamp->height * stamp->width; k++)
        if (away[k] <= set->kron_reach) {
            total += stamp->detection[k];
            moment += stamp->detection[k] * away[k];
        }
    if (total <= 0 || moment <= 0)
        return set->kron_smallest;
    return MIN(MAX(moment / total, set->kron_smallest), MAX(set->kron_largest, set->kron_smallest));
}

/* Centroid under a Gaussian window and its error, as x and y (`windowed_centroid`); NaN where it is lost. */
static void window_centroid(const Settings *set, const Stamp *stamp, const double *light, const double *variance,
                            double half_light, const double *noise, double *place, double *error)
{
    double sigma = MAX(half_light / set->half_light, set->narrowest), spread[2], sums[2], factor, at[2];
    whole reach, left, top, width, height;
    place[0] = place[1] = error[0] = error[1] = NAN;
    if (!isfinite(half_light))
        return;
    reach = (whole)ceil(set->window_reach * sigma) + 2;
    left = MAX((whole)rint(stamp->x) - reach, 0);
    top = MAX((whole)rint(stamp->y) - reach, 0);
    width = MIN(2 * reach + 1, stamp->width - left);
    height = MIN(2 * reach + 1, stamp->height - top);
    at[0] = stamp->x - left;
    at[1] = stamp->y - top;
    if (width <= 0 || height <= 0 ||
        !centroid_in(height, width, stamp->width, light + top * stamp->width + left, variance + top * stamp->width + left,
                     sigma, MAX(half_light, set->narrowest), at, spread, sums))
        return;
    factor = noise_factor(noise, sums[1]);
    place[0] = at[0] + left;
    place[1] = at[1] + top;
    for (int k = 0; k < 2; k++)
        error[k] = 2 * sqrt(spread[k]) / sums[0] * factor;
}

/* Signal-to-noise ratio of the segment, and the noise of its centre (`_isophotal`); the mean variance of its pixels. */
static double measure_segment(const Stamp *stamp, const double *light, const double *noise, Numbers *found)
{
    double own = 0, positive = 0, variance = 0, away[2] = {0, 0}, factor, scatter, n = 0;
    for (whole row = 0; row < stamp->height; row++)
        for (whole column = 0; column < stamp->width; column++) {
            whole k = row * stamp->width + column;
            double dx = column - stamp->x, dy = row - stamp->y;
            if (!stamp->source[k])
                continue;
            n++;
            own += light[k];
            positive += MAX(light[k], 0);
            variance += stamp->noise[k];
            away[0] += dx * dx * stamp->noise[k];
            away[1] += dy * dy * stamp->noise[k];
        }
    factor = noise_factor(noise, n);
    scatter = factor * sqrt(variance);
    found->snr = scatter > 0 ? own / scatter : NAN;
    for (int k = 0; k < 2; k++)
        found->centroid_error[k] = positive > 0 ? factor * sqrt(away[k]) / positive : NAN;
    return variance / n;
}

/* Share of each band in the light of the source in the detection image (`_mixture`). */
static void mix_bands(const Stamp *stamp, double *share)
{
    double total = 0, *weights = stamp->per_band, all = 0;
    whole n_bands = stamp->n_bands;
    memset(weights, 0, n_bands * sizeof(double));
    memset(share, 0, n_bands * sizeof(double));
    for (whole k = 0; k < stamp->height * stamp->width; k++)
        for (whole band = 0; band < n_bands && stamp->source[k]; band++) {
            double weight = stamp->weights[k * stamp->weights_step + band];
            weights[band] += weight;
            share[band] += weight * stamp->light[k * n_bands + band];
        }
    for (whole band = 0; band < n_bands; band++) {
        share[band] = MAX(share[band], 0);
        total += share[band];
        all += weights[band];
    }
    for (whole band = 0; band < n_bands; band++) {
        if (total > 0)
            share[band] /= total;
        else
            share[band] = all > 0 ? weights[band] / all : 1.0 / n_bands;
    }
}

/* Profile of a source, and the share of its light outside of its Kron ellipse (`correct_to_total`). `distance` and
   `light` are planes, `radii` and `shares` the profile, `corrections` factor and error of each band. */
static void fit_total(const Settings *set, const Given *given, const Stamp *stamp, const double *distance,
                      const double *light, const double *wings, double wings_error, double scale, Numbers *found,
                      double *corrections, double *profile)
{
    whole n_parts = (whole)set->n_parts, n_beyond = (whole)set->n_beyond, n_pixels = stamp->height * stamp->width;
    whole n_fitted = (whole)set->n_fitted, n_assumed = (whole)set->n_assumed, n_near = 0, last = stamp->width - 1;
    double size = sqrt(stamp->a * stamp->b), kron = scale * size, half_light = found->half_light, inside = INFINITY;
    double reach, inner, pixel = 0, ratio = stamp->b / stamp->a, stretch = sqrt((ratio + 1 / ratio) / 2);
    const double *noise = given->noise + stamp->n_bands * (whole)set->noise_width;
    double *radii = malloc(sizeof(double) * (4 * (n_parts + n_beyond + 2) + n_assumed * n_fitted + 3 * stamp->n_bands + 2));
    double *flux = radii + n_parts + n_beyond + 2, *variance = flux + n_parts, *curve = variance + n_parts;
    double *fwhm = curve + n_parts + n_beyond + 2, *mixture = fwhm + n_assumed * n_fitted;
    double *mean = mixture + stamp->n_bands, *spread = mean + stamp->n_bands + 1;
    Curve growing;
    for (whole row = 0; row < stamp->height; row++)
        inside = MIN(inside, MIN(distance[row * stamp->width], distance[row * stamp->width + last]));
    for (whole column = 0; column < stamp->width; column++)
        inside = MIN(inside, MIN(distance[column], distance[n_pixels - 1 - column]));
    reach = MAX(MIN(MAX(set->total_reach * kron, 3 * half_light), inside), 2 * set->innermost);
    inner = MIN(MAX(set->innermost, half_light / 2), reach / 2);
    radii[0] = 0;
    for (whole k = 0; k < n_parts; k++)
        radii[k + 1] = inner * pow(reach / inner, given->parts[k]);
    for (whole k = 0; k < n_beyond; k++)
        radii[n_parts + 1 + k] = kron * given->beyond[k];
    radii[n_parts + n_beyond + 1] = kron;
    for (whole k = 0; k < n_pixels; k++)
        if (distance[k] <= reach) {
            pixel += stamp->noise[k];
            n_near++;
        }
    pixel /= n_near;
    growing = grow(set, n_pixels, light, distance, reach);
    for (whole k = 0; k < n_parts; k++) {
        double area = at_radius(growing.area, growing.n, growing.step, radii[k + 1]) -
                      at_radius(growing.area, growing.n, growing.step, radii[k]);
        flux[k] = at_radius(growing.flux, growing.n, growing.step, radii[k + 1]) -
                  at_radius(growing.flux, growing.n, growing.step, radii[k]);
        variance[k] = variance_of(noise, pixel, area) + set->ring_floor * flux[k] * (set->ring_floor * flux[k]);
    }
    free(growing.flux);
    if (wings) {
        double *plane = malloc(sizeof(double) * n_pixels);
        add_bands(stamp, wings, plane);
        growing = grow(set, n_pixels, plane, distance, reach);
        for (whole k = 0; k < n_parts; k++) {
            double doubt = at_radius(growing.flux, growing.n, growing.step, radii[k + 1]) -
                           at_radius(growing.flux, growing.n, growing.step, radii[k]);
            variance[k] += wings_error * doubt * (wings_error * doubt);
        }
        free(growing.flux);
        free(plane);
    }
    for (whole k = 0; k < n_assumed * n_fitted; k++) {
        double width = given->widths[k] * (set->by_size ? 2 * half_light : 1);
        fwhm[k] = hypot(MAX(width, set->smallest_fwhm), set->pixel_fwhm) * stretch;
    }
    mix_bands(stamp, mixture);
    fit_profiles(n_assumed, n_fitted, (const double **)given->tables, fwhm, given->prior, mixture, n_parts, flux, variance,
                 n_parts + n_beyond + 2, radii, half_light, given->grid, (whole)set->n_grid, (whole)set->n_sizes,
                 (whole)set->n_tried, (whole)set->n_indices, given->log_prior, set->smallest, set->tried, set->log_step,
                 mean, spread, curve);
    for (whole k = 0; k <= stamp->n_bands; k++) {
        /* That of all bands together, then of each: of one PSF for all, the same. */
        whole from = k ? 1 + (k - 1) % n_fitted : 0;
        double factor = 1 / mean[from], doubt = set->doubt * (factor - 1);
        double error = sqrt(spread[from] / pow(mean[from], 4) + set->floor * set->floor + doubt * doubt);
        if (k) {
            corrections[2 * k - 2] = factor;
            corrections[2 * k - 1] = error;
        } else {
            found->total = factor;
            found->total_error = error;
        }
    }
    memcpy(profile, radii + 1, sizeof(double) * (n_parts + n_beyond));
    memcpy(profile + n_parts + n_beyond, curve + 1, sizeof(double) * (n_parts + n_beyond));
    free(radii);
}

/* Asymmetry within a radius about the best centre, which `centre` becomes (`_asymmetry`). `away` is the elliptical
   distance of each pixel, `room` three planes. */
static void measure_asymmetry(const Settings *set, const Given *given, const Stamp *stamp, double radius, int wanted,
                              const double *away, double *room, double *centre, Numbers *found)
{
    whole n_pixels = stamp->height * stamp->width, n = 0, n_rings = (whole)set->n_rings + 1, *ring;
    double *share = room, *sigma = room + n_pixels, total = 0, value, kept = 1, variance = 0, scatter = 0, widest = 0;
    double means[16] = {0}, counts[16] = {0}, low, high;
    int has_neighbors;
    flag *circle = malloc(n_pixels);
    overlap(stamp->height, stamp->width, stamp->y, stamp->x, radius, radius, 0, share);
    for (whole k = 0; k < n_pixels; k++) {
        circle[k] = share[k] > 0.5;
        total += circle[k] ? stamp->detection[k] : 0;
        widest = circle[k] ? MAX(widest, away[k]) : widest;
    }
    if (total > 0)
        value = best_centre(stamp->height, stamp->width, stamp->detection, circle, centre);
    if (!(total > 0) || !wanted) {
        free(circle);
        return;
    }
    /* Interpolation between pixels makes the turned noise smaller. */
    for (int axis = 0; axis < 2; axis++) {
        double part = 2 * centre[axis] - floor(2 * centre[axis]);
        kept *= (1 - part) * (1 - part) + part * part;
    }
    kept += 1;
    ring = (whole *)(room + 2 * n_pixels);
    has_neighbors = memchr(stamp->neighbor, 1, n_pixels) != NULL;
    for (whole k = 0; k < n_pixels; k++) {
        whole row = k / stamp->width, column = k % stamp->width, other, in;
        double own = stamp->noise[k];
        if (!circle[k])
            continue;
        /* Pixels of a neighbour, and those opposite one, are their own mirror. */
        if (has_neighbors) {
            other = (whole)MIN(MAX(rint(2 * stamp->y - row), 0), stamp->height - 1.0) * stamp->width;
            other += (whole)MIN(MAX(rint(2 * stamp->x - column), 0), stamp->width - 1.0);
            own = stamp->neighbor[k] || stamp->neighbor[other] ? 0 : own;
        }
        in = widest > 0 ? MIN((whole)(set->n_rings * away[k] / widest), 15) : 0;
        means[in] += stamp->detection[k];
        counts[in]++;
        variance += own;
        sigma[n] = sqrt(kept * own);
        scatter += sigma[n];
        ring[n++] = in;
    }
    for (whole k = 0; k < n_rings; k++)
        means[k] = MAX(means[k] / MAX(counts[k], 1), 0);
    /* Differences in a few pixels feel less of the noise than those all over, and both occur. */
    low = value - sqrt(2 / PI) * scatter;
    high = without_noise(n, sigma, ring, means, given->shares, (whole)set->n_shares, value);
    /* Each pair comes twice; the variance of |x| is 1 - 2 / pi of that of x. */
    scatter = sqrt(2 * (1 - 2 / PI) * kept * variance) / total;
    found->asymmetry = (low + high) / 2 / total;
    found->asymmetry_error = hypot(hypot(scatter, (high - low) / 2 / total), set->centring);
    free(circle);
}

/* Petrosian radius and concentration (`_concentration`), in a curve about the best centre. */
static void measure_concentration(const Settings *set, Curve curve, const double *noise, double pixel, Numbers *found)
{
    double error, radius = petrosian(set, curve, noise, pixel, &error), largest = set->extent * radius, total, r20, r80;
    if (!isfinite(radius))
        return;
    found->radius = radius;
    found->radius_error = error;
    total = at_radius(curve.flux, curve.n, curve.step, largest);
    r20 = radius_of(curve, 0.2 * total, largest);
    r80 = radius_of(curve, 0.8 * total, largest);
    if (!(r20 > 0))
        return;
    found->concentration = 5 / log(10) * log(r80 / r20);
    found->concentration_error = 5 / log(10) * hypot(radius_error(curve, r20, 0.2, PI * largest * largest, noise, pixel) / r20,
                                                     radius_error(curve, r80, 0.8, PI * largest * largest, noise, pixel) / r80);
}

/* Gini coefficient and M20 (`_gini_and_m20`); `distance` is room for a plane. */
static void measure_gini_and_m20(const Settings *set, const Stamp *stamp, const double *away, double largest,
                                 const double *noise, double pixel, double *distance, Numbers *found)
{
    whole n_pixels = stamp->height * stamp->width, n;
    double radius, error, doubt, factor, gini[4] = {NAN, NAN, NAN, NAN}, m20[6] = {NAN, NAN, NAN, NAN, NAN, NAN};
    Curve curve;
    for (whole k = 0; k < n_pixels; k++)
        distance[k] = away[k] * stamp->a;
    curve = grow(set, n_pixels, stamp->detection, distance, largest);
    radius = petrosian(set, curve, noise, pixel, &error);
    free(curve.flux);
    if (!isfinite(radius))
        return;
    doubt = set->steepness * error / radius;
    doubt = doubt > set->most_doubt ? set->most_doubt : doubt;
    n = gini_and_m20(stamp->height, stamp->width, stamp->detection, distance, stamp->noise, radius,
                     set->smoothing * radius, doubt, gini, m20);
    if (!n)
        return;
    /* The noise, and the share by which the brightness at that radius is in doubt; that of M20 also that whole pixels
       hold the brightest 20 % of the light. */
    factor = noise_factor(noise, (double)n);
    found->gini = gini[0];
    found->gini_error = hypot(factor * sqrt(gini[1]), gini[2] - gini[0]);
    found->m20 = m20[0];
    found->m20_error = hypot(hypot(factor * sqrt(m20[1]), m20[3] - m20[0]), m20[2]);
}

/* Arrangement of the light (`measure_structure`): what is wanted by its signal-to-noise ratio. `room` is four planes. */
static void measure_structure(const Settings *set, const Given *given, const Stamp *stamp, Curve central, double largest,
                              const double *away, double pixel, double *room, Numbers *found)
{
    const double *noise = given->noise + stamp->n_bands * (whole)set->noise_width;
    double first = petrosian(set, central, noise, pixel, NULL), centre[2] = {stamp->y, stamp->x};
    int has_gini = found->snr >= set->snr_gini, has_m20 = found->snr >= set->snr_m20;
    if (isfinite(first)) {
        int wanted = found->snr >= set->snr_asymmetry;
        Curve curve;
        measure_asymmetry(set, given, stamp, set->extent * first, wanted, away, room, centre, found);
        curve = grow_circles(set, stamp, stamp->detection, centre[0], centre[1], largest, room);
        measure_concentration(set, curve, noise, pixel, found);
        free(curve.flux);
        if (!(found->snr >= set->snr_concentration))
            found->concentration = found->concentration_error = NAN;
    }
    if (has_gini || has_m20)
        measure_gini_and_m20(set, stamp, away, largest, noise, pixel, room, found);
    if (!has_gini)
        found->gini = found->gini_error = NAN;
    if (!has_m20)
        found->m20 = found->m20_error = NAN;
}

/* Everything that catalog/stamps.py tells of one stamp. `wings` is NULL where
   no light of neighbours was subtracted, `ellipse` y, x, a, b and theta, `background` that of each band and of the
   detection image. `found` holds `Numbers`; then flux, error and share covered (aperture, band) of the segment, the Kron
   ellipse and the circles; shares of the light covered (band + 1,), errors of the wings (band,), corrections (band, 2),
   and the radii of the profile and the light within. 0 where there is no memory. */
EXPORT whole measure_stamp(const Settings *set, const Given *given, whole height, whole width, whole n_bands,
                           const double *light, const double *variance, whole variance_step, const double *weights,
                           whole weights_step, const flag *covered, const flag *usable, const double *detection,
                           const double *noise_plane, const flag *source, const flag *neighbor, const double *wings,
                           double wings_error, const double *ellipse, const double *background, double *found)
{
    Stamp stamp = {height, width, n_bands, light, variance, weights, detection, noise_plane, covered, usable, source,
                   neighbor, variance_step, weights_step, ellipse[0], ellipse[1], ellipse[2], ellipse[3], ellipse[4], NULL};
    const double *noise = given->noise + n_bands * (whole)set->noise_width, sky = background[n_bands];
    whole n_pixels = height * width, n_apertures = 2 + (whole)set->n_radii, size = n_apertures * n_bands;
    whole n_profile = 2 * (whole)(set->n_parts + set->n_beyond), photons = 0;
    Numbers *numbers = (Numbers *)found;
    double *flux = found + sizeof(Numbers) / sizeof(double), *error = flux + size, *shares = error + size;
    double *light_shares = shares + size, *wings_found = light_shares + n_bands + 1, *corrections = wings_found + n_bands;
    double *profile = corrections + 2 * n_bands, *away, *kron, *bare, *noisy, *room;
    double scale, reach, largest, half = 0, area = 0, hidden = 0, pixel, y, x;
    Curve central = {0}, curve;
    away = malloc((8 * n_pixels + n_bands + 1) * sizeof(double));
    if (!away)
        return 0;
    kron = away + n_pixels;
    bare = kron + n_pixels;
    noisy = bare + n_pixels;
    room = noisy + n_pixels;
    stamp.per_band = room + 4 * n_pixels;
    for (double *one = found; one < profile + n_profile; one++)
        *one = NAN;
    distances(height, width, stamp.y, stamp.x, cos(stamp.theta), sin(stamp.theta), stamp.a / stamp.b, stamp.a, away);
    numbers->kron_radius = kron_moment(set, &stamp, away);
    scale = set->kron_scale * numbers->kron_radius;
    reach = scale * stamp.a;
    overlap(height, width, stamp.y, stamp.x, reach, scale * stamp.b, stamp.theta, kron);
    for (whole k = 0; k < n_pixels; k++)
        bare[k] = detection[k] - sky;
    pixel = measure_segment(&stamp, bare, noise, numbers);
    /* Circles inside of the stamp tell its structure; as far as the ellipse and half a step beyond, half of the light. */
    largest = MAX(MIN(height, width) / 2.0, set->smallest_reach);
    if (set->has_structure)
        central = grow_circles(set, &stamp, detection, stamp.y, stamp.x, largest, room);
    curve = central;
    if (!set->has_structure || set->has_background || (central.n - 1) * central.step < reach)
        curve = grow_circles(set, &stamp, bare, stamp.y, stamp.x, reach, room);
    for (whole k = 0; k < n_pixels; k++) {
        half += kron[k] * bare[k];
        area += kron[k];
        hidden += neighbor[k] ? kron[k] : 0;
    }
    numbers->half_light = radius_of(curve, half / 2, MAX(reach, 2) + curve.step);
    numbers->half_light_error = radius_error(curve, numbers->half_light, 0.5, area, noise, pixel);
    numbers->kron_hidden = hidden / area;
    if (curve.flux != central.flux)
        free(curve.flux);
    for (whole band = 0; band < n_bands; band++)
        photons = photons || given->noise[band * (whole)set->noise_width + 2] > 0;
    memcpy(noisy, noise_plane, n_pixels * sizeof(double));
    for (whole k = 0; k < n_pixels && photons; k++)
        for (whole band = 0; band < n_bands; band++) {
            double weight = weights[k * weights_step + band], own = MAX(light[k * n_bands + band] - background[band], 0);
            noisy[k] += weight * weight * own * given->noise[band * (whole)set->noise_width + 2];
        }
    window_centroid(set, &stamp, bare, noisy, numbers->half_light, noise, numbers->windowed, numbers->windowed_error);
    x = isfinite(numbers->windowed[0]) ? numbers->windowed[0] : stamp.x;
    y = isfinite(numbers->windowed[0]) ? numbers->windowed[1] : stamp.y;
    for (whole one = 0; one < n_apertures; one++) {
        const double *inside = one == 1 ? kron : room;
        for (whole k = 0; k < n_pixels && one == 0; k++)
            room[k] = source[k];
        if (one > 1)
            overlap(height, width, y, x, given->radii[one - 2], given->radii[one - 2], 0, room);
        sum_aperture(set, &stamp, inside, one ? covered : usable, one ? background : NULL, given->noise,
                     flux + one * n_bands, error + one * n_bands, shares + one * n_bands);
    }
    light_covered(&stamp, kron, bare, shares + n_bands, light_shares);
    memset(wings_found, 0, n_bands * sizeof(double));
    for (whole k = 0; k < n_pixels && wings; k++)
        for (whole band = 0; band < n_bands && !neighbor[k]; band++)
            wings_found[band] += wings_error * kron[k] * wings[k * n_bands + band];
    if (numbers->half_light > 0) {
        for (whole k = 0; k < n_pixels; k++)
            room[k] = away[k] * sqrt(stamp.a * stamp.b);
        fit_total(set, given, &stamp, room, bare, wings, wings_error, scale, numbers, corrections, profile);
    }
    if (set->has_structure && !isnan(numbers->snr))
        measure_structure(set, given, &stamp, central, largest, away, pixel, room, numbers);
    free(central.flux);
    free(away);
    return 1;
}

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_kernels", NULL, -1, NULL, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__kernels(void)
{
    return PyModule_Create(&definition);
}
