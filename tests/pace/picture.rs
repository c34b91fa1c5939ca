//! The picture: what was allowed, and what came of it, over time, above bands for what the server did.

use std::fmt::Write;

use crate::played::{CONCURRENCY, EVERY_MS, PHASES, Sample, WELL};

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 400.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 16.0;

/// A chart's place, from its top to its zero line.
struct Chart {
    title: &'static str,
    class: &'static str,
    top: f64,
    bottom: f64,
    most: f64,
    step: f64,
}

/// A card with a background of its own, so that it is read on any page; dark where the reader's system is.
const STYLE: &str = "\
text{font:12px system-ui,sans-serif;fill:#424a53}.title{font-weight:600}.card{fill:#fff;stroke:#d1d9e0}\
.grid{stroke:#d1d9e0}.trouble{fill:#fff1d6}.allowed{stroke:#0969da}.answers{stroke:#1a7f37}\
.allowed,.answers{fill:none;stroke-width:1.5;stroke-linejoin:round}\
@media(prefers-color-scheme:dark){text{fill:#c9d1d9}.card{fill:#0d1117;stroke:#3d444d}.grid{stroke:#30363d}\
.trouble{fill:#3a2d12}.allowed{stroke:#58a6ff}.answers{stroke:#56d364}}";

fn seconds() -> f64 {
    PHASES.iter().map(|phase| phase.seconds).sum::<u64>() as f64
}

fn x(second: f64) -> f64 {
    LEFT + (WIDTH - LEFT - RIGHT) * second / seconds()
}

impl Chart {
    fn y(&self, value: f64) -> f64 {
        self.bottom - (self.bottom - self.top) * value / self.most
    }

    fn draw(&self, svg: &mut String, values: &[f64]) {
        let (mut value, end) = (0.0, WIDTH - RIGHT);
        while value <= self.most {
            let y = self.y(value);
            writeln!(svg, r#"<path class="grid" d="M{LEFT} {y:.1}H{end}"/>"#).unwrap();
            writeln!(svg, r#"<text x="{}" y="{:.1}" text-anchor="end">{value}</text>"#, LEFT - 6.0, y + 4.0).unwrap();
            value += self.step;
        }
        writeln!(svg, r#"<text class="title" x="{LEFT}" y="{}">{}</text>"#, self.top - 8.0, self.title).unwrap();
        let point = |(n, value): (usize, &f64)| {
            let second = (n + 1) as f64 * EVERY_MS as f64 / 1000.0;
            format!("{:.1},{:.1}", x(second), self.y(*value))
        };
        let points: Vec<String> = values.iter().enumerate().map(point).collect();
        writeln!(svg, r#"<polyline class="{}" points="{}"/>"#, self.class, points.join(" ")).unwrap();
    }
}

/// The picture of a run.
pub fn draw(samples: &[Sample]) -> String {
    let allowed: Vec<f64> = samples.iter().map(|sample| sample.allowed as f64).collect();
    let answers: Vec<f64> = samples.iter().map(|sample| (sample.answers * 1000 / EVERY_MS) as f64).collect();
    let most = answers.iter().copied().fold(1.0, f64::max);
    let step = if most > 1000.0 { 500.0 } else { 200.0 };
    let charts = [
        Chart {
            title: "requests in flight, allowed",
            class: "allowed",
            top: 62.0,
            bottom: 190.0,
            most: CONCURRENCY as f64,
            step: 4.0,
        },
        Chart {
            title: "answers per second",
            class: "answers",
            top: 230.0,
            bottom: 360.0,
            most: (most / step).ceil() * step,
            step,
        },
    ];
    let mut svg = String::new();
    let about = "The pace of lookups over two and a half minutes: it falls when the server answers 429, fails or becomes \
                 slow, and comes back in half a minute when the server is well again; it is never above the limit.";
    writeln!(svg, r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">"#).unwrap();
    writeln!(svg, "<title>{about}</title>\n<style>{STYLE}</style>").unwrap();
    let (width, height) = (WIDTH - 1.0, HEIGHT - 1.0);
    writeln!(svg, r#"<rect class="card" x=".5" y=".5" width="{width}" height="{height}" rx="6"/>"#).unwrap();
    let mut begin = 0.0;
    for phase in &PHASES {
        let (left, right) = (x(begin), x(begin + phase.seconds as f64));
        if phase.name != WELL {
            let (width, height) = (right - left, charts[1].bottom - 28.0);
            writeln!(svg, r#"<rect class="trouble" x="{left:.1}" y="28" width="{width:.1}" height="{height}"/>"#)
                .unwrap();
        }
        let middle = (left + right) / 2.0;
        writeln!(svg, r#"<text x="{middle:.1}" y="20" text-anchor="middle">{}</text>"#, phase.name).unwrap();
        begin += phase.seconds as f64;
    }
    charts[0].draw(&mut svg, &allowed);
    charts[1].draw(&mut svg, &answers);
    let mut second = 0.0;
    while second <= seconds() {
        let (x, y) = (x(second), charts[1].bottom + 18.0);
        writeln!(svg, r#"<text x="{x:.1}" y="{y}" text-anchor="middle">{second} s</text>"#).unwrap();
        second += 20.0;
    }
    svg.push_str("</svg>\n");
    svg
}
