//! How likely a statistic is at least as far out as seen, if the stream is random: exact tails, because the thresholds
//! lie where approximations by a normal distribution are wrong by orders of magnitude.

/// Of a chi-squared statistic with so many degrees of freedom, on either side: too uneven, or too even.
pub(crate) fn chi_squared(statistic: f64, degrees: f64) -> f64 {
    let (lower, upper) = incomplete_gamma(degrees / 2.0, statistic / 2.0);
    (2.0 * lower.min(upper)).min(1.0)
}

/// Of `ones` among `bits` fair coins, on either side. For the many coins here the normal distribution is exact enough:
/// with 10^8 coins its tail at seven standard deviations is wrong by less than a hundredth.
pub(crate) fn coins(ones: u64, bits: u64) -> f64 {
    let z = (2.0 * ones as f64 - bits as f64) / (bits as f64).sqrt();
    incomplete_gamma(0.5, z * z / 2.0).1
}

/// Of `count` rare events where `mean` are expected, on either side.
pub(crate) fn poisson(count: u64, mean: f64) -> f64 {
    // P(X >= k) is the lower incomplete gamma function of k, P(X <= k) the upper one of k + 1.
    let at_least = if count == 0 { 1.0 } else { incomplete_gamma(count as f64, mean).0 };
    let at_most = incomplete_gamma(count as f64 + 1.0, mean).1;
    (2.0 * at_least.min(at_most)).min(1.0)
}

/// The regularized incomplete gamma functions, lower and upper. Each is computed where it converges, so that the small
/// one of the two has its full precision.
fn incomplete_gamma(a: f64, x: f64) -> (f64, f64) {
    if x <= 0.0 {
        return (0.0, 1.0);
    }
    let scale = (a * x.ln() - x - ln_gamma(a)).exp();
    if x < a + 1.0 {
        let lower = scale * series(a, x);
        (lower, 1.0 - lower)
    } else {
        let upper = scale * continued_fraction(a, x);
        (1.0 - upper, upper)
    }
}

fn series(a: f64, x: f64) -> f64 {
    let (mut term, mut sum, mut n) = (1.0 / a, 1.0 / a, a);
    while term > sum * 1e-16 {
        n += 1.0;
        term *= x / n;
        sum += term;
    }
    sum
}

/// By Lentz's method.
fn continued_fraction(a: f64, x: f64) -> f64 {
    const TINY: f64 = 1e-300;
    let mut b = x + 1.0 - a;
    let (mut c, mut d) = (1.0 / TINY, 1.0 / b);
    let mut fraction = d;
    for i in 1..1_000_000 {
        let factor = -f64::from(i) * (f64::from(i) - a);
        b += 2.0;
        let bounded = |value: f64| if value.abs() < TINY { TINY } else { value };
        d = 1.0 / bounded(factor * d + b);
        c = bounded(b + factor / c);
        fraction *= d * c;
        if (d * c - 1.0).abs() < 1e-15 {
            break;
        }
    }
    fraction
}

/// Stirling's series, after moving the argument to where it is exact.
fn ln_gamma(x: f64) -> f64 {
    let (mut x, mut shift) = (x, 0.0);
    while x < 20.0 {
        shift += x.ln();
        x += 1.0;
    }
    let inverse = 1.0 / (x * x);
    let tail =
        (1.0 / 12.0 - inverse * (1.0 / 360.0 - inverse * (1.0 / 1260.0 - inverse / 1680.0))) / x;
    (x - 0.5) * x.ln() - x + 0.5 * (2.0 * std::f64::consts::PI).ln() + tail - shift
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(value: f64, expected: f64) {
        assert!((value / expected - 1.0).abs() < 1e-6, "{value} is not {expected}");
    }

    #[test]
    fn tails_are_those_of_closed_forms() {
        // With two degrees of freedom the upper tail is exp(-x / 2), also where it is tiny.
        near(chi_squared(60.0, 2.0), 2.0 * (-30.0_f64).exp());
        // With four it is (1 + x / 2) exp(-x / 2).
        near(chi_squared(80.0, 4.0), 2.0 * 41.0 * (-40.0_f64).exp());
        near(poisson(0, 5.0), 2.0 * (-5.0_f64).exp());
        // P(X >= 2) = 1 - exp(-m) (1 + m), which is m^2/2 - m^3/3 + m^4/8 - ...
        let m = 0.01_f64;
        near(poisson(2, m), 2.0 * (m.powi(2) / 2.0 - m.powi(3) / 3.0 + m.powi(4) / 8.0));
        // Two standard deviations: erfc(sqrt 2), but for the rounding of half a coin.
        assert!((coins(500_031_623, 1_000_000_000) - 0.045_500).abs() < 1e-5);
    }

    #[test]
    fn the_two_sides_of_a_distribution_are_one() {
        for (a, x) in [(0.5, 0.1), (3.0, 9.0), (127.5, 100.0), (32_767.5, 33_000.0)] {
            let (lower, upper) = incomplete_gamma(a, x);
            near(lower + upper, 1.0);
        }
    }
}
