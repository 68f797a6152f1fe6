//! The figures as bars, in one SVG file.

use super::load::BoxError;
use super::report::Bar;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::path::Path;

const WIDTH: u32 = 1200;
const ROW_HEIGHT: i32 = 44;
const TOP: i32 = 70;
const BAR_HEIGHT: i32 = 16;
/// Where the bars of throughput and of CPU begin, and how long the longest is.
const PANELS: [(i32, &str); 2] = [
    (180, "operations a second (more is better)"),
    (
        720,
        "servers' CPU seconds for 100 000 operations (less is better)",
    ),
];
const BAR_MAX: f64 = 380.0;
const COLOURS: [RGBColor; 2] = [RGBColor(33, 113, 181), RGBColor(160, 160, 160)];

/// Draws a row for each case and a bar for each server in it, each case in its own scale: what
/// is to be seen is the ratio.
pub fn draw(path: &Path, servers: &[&str], cases: &[(String, Vec<Bar>)]) -> Result<(), BoxError> {
    let height = TOP + ROW_HEIGHT * i32::try_from(cases.len())? + 20;
    let area = SVGBackend::new(path, (WIDTH, u32::try_from(height)?)).into_drawing_area();
    area.fill(&WHITE)?;
    let text = |size: i32| ("sans-serif", size).into_font().color(&BLACK);
    for ((x, title), i) in PANELS.iter().zip(0..) {
        area.draw_text(title, &text(15), (*x, 40))?;
        let Some(server) = servers.get(i) else {
            continue;
        };
        let left = PANELS[0].0 + 130 * i32::try_from(i)?;
        let square = [(left, 12), (left + 12, 24)];
        area.draw(&Rectangle::new(square, COLOURS[i].filled()))?;
        area.draw_text(server, &text(15), (left + 18, 11))?;
    }
    for ((name, bars), row) in cases.iter().zip(0i32..) {
        let top = TOP + row * ROW_HEIGHT;
        let right = text(15).pos(Pos::new(HPos::Right, VPos::Center));
        area.draw_text(name, &right, (PANELS[0].0 - 10, top + BAR_HEIGHT))?;
        let panels: [fn(&Bar) -> Option<f64>; 2] =
            [|bar| Some(bar.per_second), |bar| bar.cpu_per_100k];
        for ((left, _), of) in PANELS.iter().zip(panels) {
            let longest = bars.iter().filter_map(of).fold(f64::MIN_POSITIVE, f64::max);
            for (i, bar) in bars.iter().enumerate() {
                let Some(value) = of(bar) else { continue };
                let y = top + i32::try_from(i)? * (BAR_HEIGHT + 1);
                let end = left + (value / longest * BAR_MAX).round() as i32;
                let corners = [(*left, y), (end, y + BAR_HEIGHT)];
                area.draw(&Rectangle::new(
                    corners,
                    COLOURS[i % COLOURS.len()].filled(),
                ))?;
                let digits = if value < 100.0 { 1 } else { 0 };
                area.draw_text(&format!("{value:.digits$}"), &text(13), (end + 6, y + 1))?;
            }
        }
    }
    area.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_and_server_has_its_bars() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("bench.svg");
        let bar = |per_second, cpu| Bar {
            per_second,
            cpu_per_100k: Some(cpu),
        };
        let cases = vec![
            (
                "Put x 1".to_owned(),
                vec![bar(1200.0, 116.5), bar(1071.0, 138.5)],
            ),
            (
                "Put x 1000".to_owned(),
                vec![bar(25_144.0, 7.5), bar(16_622.0, 12.5)],
            ),
        ];
        draw(&path, &["detcd", "etcd"], &cases).expect("it is drawn");
        let svg = std::fs::read_to_string(&path).expect("it is there");
        for text in ["detcd", "Put x 1000", "25144", "12.5", "138"] {
            assert!(svg.contains(text), "{text} is not in the drawing");
        }
        // The ground, a square for each server, and two bars for each server and case.
        assert_eq!(svg.matches("<rect").count(), 1 + 2 + 2 * 2 * 2);
    }
}
