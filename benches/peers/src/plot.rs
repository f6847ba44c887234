//! Plots with logarithmic axes, as SVG.

use std::fmt::Write as _;

/// Points `(x, y)`, all of them above 0.
pub(crate) struct Series(pub(crate) Vec<(f64, f64)>);

pub(crate) struct Panel {
    pub(crate) title: String,
    pub(crate) x: String,
    pub(crate) y: String,
    pub(crate) series: Series,
}

const WIDTH: f64 = 320.0;
const HEIGHT: f64 = 240.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 32.0;
const BOTTOM: f64 = 48.0;

/// The powers of ten between which all of it lies.
fn decades(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
        (low.min(value.log10()), high.max(value.log10()))
    });
    (low.floor(), high.ceil().max(low.floor() + 1.0))
}

/// The panels beside each other.
pub(crate) fn svg(panels: &[Panel]) -> String {
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
        WIDTH * panels.len() as f64
    );
    for (number, panel) in panels.iter().enumerate() {
        // Writing to a string does not fail.
        let _ = writeln!(svg, "<g transform=\"translate({} 0)\">", number as f64 * WIDTH);
        draw(&mut svg, panel);
        svg.push_str("</g>\n");
    }
    svg.push_str("</svg>\n");
    svg
}

fn draw(svg: &mut String, Panel { title, x, y, series: Series(points) }: &Panel) {
    let (x_low, x_high) = decades(points.iter().map(|(x, _)| *x));
    let (y_low, y_high) = decades(points.iter().map(|(_, y)| *y));
    let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
    let across = |power: f64| LEFT + (power - x_low) / (x_high - x_low) * (right - LEFT);
    let up = |power: f64| bottom - (power - y_low) / (y_high - y_low) * (bottom - TOP);
    let mut line = |text: std::fmt::Arguments<'_>| {
        let _ = writeln!(svg, "{text}");
    };
    let middle = f64::midpoint(LEFT, right);
    line(format_args!("<text x=\"{middle}\" y=\"18\" text-anchor=\"middle\" font-weight=\"bold\">{title}</text>"));
    line(format_args!("<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">{x}</text>", HEIGHT - 8.0));
    line(format_args!("<text x=\"6\" y=\"{}\">{y}</text>", TOP - 8.0));
    for power in x_low as i32..=x_high as i32 {
        let at = across(power.into());
        line(format_args!("<path d=\"M{at:.1} {TOP}V{bottom}\" stroke=\"#ddd\"/>"));
        line(format_args!("<text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>", bottom + 16.0, tick(power)));
    }
    for power in y_low as i32..=y_high as i32 {
        let at = up(power.into());
        line(format_args!("<path d=\"M{LEFT} {at:.1}H{right}\" stroke=\"#ddd\"/>"));
        line(format_args!(
            "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 6.0,
            at + 4.0,
            tick(power)
        ));
    }
    let mut path = String::new();
    for (number, (x, y)) in points.iter().enumerate() {
        let (x, y) = (across(x.log10()), up(y.log10()));
        let _ = write!(path, "{}{x:.1} {y:.1}", if number == 0 { "M" } else { "L" });
        line(format_args!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"#1565c0\"/>"));
    }
    line(format_args!("<path d=\"{path}\" fill=\"none\" stroke=\"#1565c0\" stroke-width=\"1.5\"/>"));
}

fn tick(power: i32) -> String {
    match power {
        -2..=4 => format!("{}", 10_f64.powi(power)),
        _ => format!("10<tspan dy=\"-4\" font-size=\"8\">{power}</tspan>"),
    }
}
