// The CNN heads' convolution, batch norm, ReLU and 1x2 pool, forward and backward, on a CPU.
//
// A library convolution is slow with 3 to 42 channels. Here 16 row groups stand side by side in one
// vector, maps are [groups / 16][channel][row][column][16], and a kernel's channels are known when
// it is compiled: -DSIZES="SIZE(3, 5, 3) SIZE(5, 9, 1) ..." lists (inputs, outputs, kernel rows).
// golden/cpu_heads.py compiles and calls it; tests/test_train.py compares it with PyTorch.
#include <cstdlib>
#include <cstring>
#include <vector>

typedef float lanes __attribute__((vector_size(64)));
typedef long count_t;

static double sum(lanes v) {
  double total = 0;
  for (int i = 0; i < 16; i++) total += v[i];
  return total;
}

static inline lanes larger(lanes a, lanes b) { return a > b ? a : b; }

// Channels that stay in registers together.
constexpr int tile(int channels) {
  return channels <= 9 ? channels
         : channels % 8 == 0 ? 8
         : channels % 7 == 0 ? 7
         : channels % 9 == 0 ? 9
         : channels <= 11 ? channels
                          : 8;
}

// One block of 16 row groups: y = convolution of x, with the sums that batch norm needs.
template <int IN, int OUT, int ROWS>
static void forward(const lanes *x, const float *w, lanes *y, int rows_in, int width, lanes *sums,
                    lanes *squares) {
  constexpr int TILE = tile(OUT), TAPS = IN * ROWS * 3;
  const int rows = rows_in - ROWS + 1;
  for (int first = 0; first < OUT; first += TILE) {
    const int used = OUT - first < TILE ? OUT - first : TILE;
    float near[TAPS][TILE];
    for (int k = 0; k < TAPS; k++)
      for (int j = 0; j < TILE; j++) near[k][j] = j < used ? w[(first + j) * TAPS + k] : 0;
    lanes s[TILE] = {}, q[TILE] = {};
    for (int r = 0; r < rows; r++)
      for (int c = 0; c < width; c++) {
        lanes acc[TILE] = {};
        for (int i = 0; i < IN; i++)
          for (int kr = 0; kr < ROWS; kr++) {
            const lanes *row = x + (i * rows_in + r + kr) * width;
            for (int kc = 0; kc < 3; kc++) {
              const int at = c + kc - 1;
              if (at < 0 || at >= width) continue;
              const lanes value = row[at];
              const float *k = near[(i * ROWS + kr) * 3 + kc];
              for (int j = 0; j < TILE; j++) acc[j] += value * k[j];
            }
          }
        for (int j = 0; j < used; j++) {
          y[((first + j) * rows + r) * width + c] = acc[j];
          s[j] += acc[j];
          q[j] += acc[j] * acc[j];
        }
      }
    for (int j = 0; j < used; j++) sums[first + j] = s[j], squares[first + j] = q[j];
  }
}

template <int IN, int OUT, int ROWS>
static void input_gradient(const lanes *dy, const float *w, lanes *dx, int rows_in, int width) {
  constexpr int TILE = tile(IN), TAPS = ROWS * 3;
  const int rows = rows_in - ROWS + 1;
  static thread_local std::vector<float> near;
  for (int first = 0; first < IN; first += TILE) {
    const int used = IN - first < TILE ? IN - first : TILE;
    near.assign(OUT * TAPS * TILE, 0.f);
    for (int o = 0; o < OUT; o++)
      for (int k = 0; k < TAPS; k++)
        for (int j = 0; j < used; j++)
          near[(o * TAPS + k) * TILE + j] = w[(o * IN + first + j) * TAPS + k];
    for (int r = 0; r < rows_in; r++)
      for (int c = 0; c < width; c++) {
        lanes acc[TILE] = {};
        for (int kr = 0; kr < ROWS; kr++) {
          if (r - kr < 0 || r - kr >= rows) continue;
          for (int o = 0; o < OUT; o++) {
            const lanes *row = dy + (o * rows + r - kr) * width;
            for (int kc = 0; kc < 3; kc++) {
              const int at = c - kc + 1;
              if (at < 0 || at >= width) continue;
              const lanes value = row[at];
              const float *k = &near[(o * TAPS + kr * 3 + kc) * TILE];
              for (int j = 0; j < TILE; j++) acc[j] += value * k[j];
            }
          }
        }
        for (int j = 0; j < used; j++) dx[((first + j) * rows_in + r) * width + c] = acc[j];
      }
  }
}

template <int IN, int OUT, int ROWS>
static void weight_gradient(const lanes *x, const lanes *dy, lanes *dw, int rows_in, int width) {
  constexpr int TILE = OUT % 6 == 0 ? 6 : OUT % 7 == 0 ? 7 : OUT % 5 == 0 ? 5 : tile(OUT);
  const int rows = rows_in - ROWS + 1;
  const lanes nothing = {};
  for (int first = 0; first < OUT; first += TILE) {
    const int used = OUT - first < TILE ? OUT - first : TILE;
    for (int i = 0; i < IN; i++)
      for (int kr = 0; kr < ROWS; kr++) {
        lanes acc[3][TILE] = {};
        for (int r = 0; r < rows; r++) {
          const lanes *row = x + (i * rows_in + r + kr) * width;
          for (int c = 0; c < width; c++) {
            const lanes left = c ? row[c - 1] : nothing, here = row[c];
            const lanes right = c + 1 < width ? row[c + 1] : nothing;
            for (int j = 0; j < TILE; j++) {
              const lanes d = dy[((first + (j < used ? j : 0)) * rows + r) * width + c];
              acc[0][j] += left * d, acc[1][j] += here * d, acc[2][j] += right * d;
            }
          }
        }
        for (int j = 0; j < used; j++)
          for (int kc = 0; kc < 3; kc++)
            dw[((first + j) * IN + i) * ROWS * 3 + kr * 3 + kc] += acc[kc][j];
      }
  }
}

template <int IN, int OUT, int ROWS>
static void all_forward(const float *x, const float *w, float *y, count_t blocks, int rows_in,
                        int width, double *sums) {
  const int rows = rows_in - ROWS + 1;
  for (int i = 0; i < 2 * OUT; i++) sums[i] = 0;
#pragma omp parallel for schedule(dynamic, 2)
  for (count_t b = 0; b < blocks; b++) {
    lanes s[OUT], q[OUT];
    forward<IN, OUT, ROWS>((const lanes *)x + b * IN * rows_in * width, w,
                           (lanes *)y + b * OUT * rows * width, rows_in, width, s, q);
#pragma omp critical
    for (int o = 0; o < OUT; o++) sums[o] += sum(s[o]), sums[OUT + o] += sum(q[o]);
  }
}

template <int IN, int OUT, int ROWS>
static void all_backward(const float *x, const float *w, const float *dy, float *dx, double *dw,
                         count_t blocks, int rows_in, int width) {
  const int rows = rows_in - ROWS + 1, size = OUT * IN * ROWS * 3;
  for (int i = 0; i < size; i++) dw[i] = 0;
#pragma omp parallel
  {
    lanes *acc = (lanes *)std::aligned_alloc(64, sizeof(lanes) * size);
    std::memset(acc, 0, sizeof(lanes) * size);
#pragma omp for schedule(dynamic, 2)
    for (count_t b = 0; b < blocks; b++) {
      const lanes *own_x = (const lanes *)x + b * IN * rows_in * width;
      const lanes *own_dy = (const lanes *)dy + b * OUT * rows * width;
      weight_gradient<IN, OUT, ROWS>(own_x, own_dy, acc, rows_in, width);
      if (dx)
        input_gradient<IN, OUT, ROWS>(own_dy, w, (lanes *)dx + b * IN * rows_in * width, rows_in,
                                      width);
    }
#pragma omp critical
    for (int i = 0; i < size; i++) dw[i] += sum(acc[i]);
    std::free(acc);
  }
}

// The functions that Python calls return 1 for a size that was not compiled.
extern "C" int conv_forward(const float *x, const float *w, float *y, count_t blocks, int in,
                            int out, int kernel_rows, int rows_in, int width, double *sums) {
#define SIZE(I, O, R)                                        \
  if (in == I && out == O && kernel_rows == R) {             \
    all_forward<I, O, R>(x, w, y, blocks, rows_in, width, sums); \
    return 0;                                                \
  }
  SIZES
#undef SIZE
  return 1;
}

extern "C" int conv_backward(const float *x, const float *w, const float *dy, float *dx, double *dw,
                             count_t blocks, int in, int out, int kernel_rows, int rows_in,
                             int width) {
#define SIZE(I, O, R)                                            \
  if (in == I && out == O && kernel_rows == R) {                 \
    all_backward<I, O, R>(x, w, dy, dx, dw, blocks, rows_in, width); \
    return 0;                                                    \
  }
  SIZES
#undef SIZE
  return 1;
}

// out = max(0, pairs of gain * y + offset)
extern "C" void pool_forward(const float *y, const float *gain, const float *offset, float *out,
                             count_t blocks, int channels, int rows, int width) {
  const int half = width / 2;
  const lanes zero = {};
#pragma omp parallel for schedule(static)
  for (count_t map = 0; map < blocks * channels; map++) {
    const float g = gain[map % channels], o = offset[map % channels];
    for (int r = 0; r < rows; r++) {
      const lanes *from = (const lanes *)y + (map * rows + r) * width;
      lanes *to = (lanes *)out + (map * rows + r) * half;
      for (int c = 0; c < half; c++)
        to[c] = larger(larger(from[2 * c] * g + o, from[2 * c + 1] * g + o), zero);
    }
  }
}

// Turns y into its own gradient, through pool, ReLU and batch norm with the batch's statistics.
extern "C" void pool_backward(float *y, const float *dout, const float *gain, const float *offset,
                              const float *mean, const float *rstd, count_t blocks, int channels,
                              int rows, int width, double *dgain, double *doffset) {
  const int half = width / 2;
  const double values = (double)blocks * 16 * rows * width;
  const lanes zero = {};
  lanes *dz = (lanes *)std::aligned_alloc(64, sizeof(lanes) * blocks * channels * rows * width);
#pragma omp parallel for schedule(static)
  for (int ch = 0; ch < channels; ch++) {
    const float g = gain[ch], o = offset[ch], m = mean[ch], s = rstd[ch];
    double slope = 0, shift = 0;
    for (count_t b = 0; b < blocks; b++)
      for (int r = 0; r < rows; r++) {
        const count_t line = (b * channels + ch) * rows + r;
        const lanes *v = (const lanes *)y + line * width, *d = (const lanes *)dout + line * half;
        lanes *e = dz + line * width, a = zero, t = zero;
        for (int c = 0; c < half; c++) {
          const lanes left = v[2 * c] * g + o, right = v[2 * c + 1] * g + o;
          const lanes one = left >= right ? (left > zero ? d[c] : zero) : zero;
          const lanes two = left >= right ? zero : (right > zero ? d[c] : zero);
          e[2 * c] = one, e[2 * c + 1] = two;
          t += one + two;
          a += one * ((v[2 * c] - m) * s) + two * ((v[2 * c + 1] - m) * s);
        }
        if (width & 1) e[width - 1] = zero;
        slope += sum(a), shift += sum(t);
      }
    dgain[ch] = slope, doffset[ch] = shift;
    const float k1 = shift / values, k2 = slope / values;
    for (count_t b = 0; b < blocks; b++) {
      lanes *v = (lanes *)y + (b * channels + ch) * rows * width;
      const lanes *e = dz + (b * channels + ch) * rows * width;
      for (int i = 0; i < rows * width; i++) v[i] = g * (e[i] - k1 - ((v[i] - m) * s) * k2);
    }
  }
  std::free(dz);
}
