//! Charts, as SVG.

use super::job::{BUBBLEWRAP, FLOOR, SELFDOCK};
use super::table::{Row, Table, short};
use crate::run::{Context, Result};
use plotters::coord::ranged1d::{Ranged, ValueFormatter};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::path::Path;

const SIZE: (u32, u32) = (800, 420);
const FONT: &str = "sans-serif";

/// A chart for each section that has one.
pub fn plot(dir: &Path, tables: &[Table], machine: &str) -> Result<Vec<String>> {
    std::fs::create_dir_all(dir).context(dir.display())?;
    let mut names = Vec::new();
    for table in tables.iter().filter(|table| !table.rows.is_empty() && table.name != "counts") {
        let name = format!("{}.svg", table.name);
        let path = dir.join(&name);
        let drawing = if table.rows.iter().any(|row| row.x.is_some()) {
            lines(&path, table, machine)
        } else {
            bars(&path, table, machine)
        };
        drawing.map_err(|error| error.to_string()).context(path.display())?;
        names.push(name);
    }
    Ok(names)
}

type Drawn = std::result::Result<(), Box<dyn std::error::Error>>;

fn color(who: &str, i: usize) -> RGBColor {
    match who {
        SELFDOCK => RGBColor(200, 60, 40),
        FLOOR => RGBColor(120, 120, 120),
        BUBBLEWRAP => RGBColor(40, 100, 170),
        _ => [RGBColor(50, 140, 90), RGBColor(150, 100, 170), RGBColor(190, 140, 40)][i % 3],
    }
}

/// Draws a line for each program.
fn lines(path: &Path, table: &Table, machine: &str) -> Drawn {
    let area = SVGBackend::new(path, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let area = titled(&area, table, "", machine)?;
    let points: Vec<(&Row, f64)> = table.rows.iter().filter_map(|row| Some((row, row.x?))).collect();
    let most = |values: &mut dyn Iterator<Item = f64>| values.fold(1.0, f64::max);
    let right = most(&mut points.iter().map(|(_, x)| *x));
    let top = most(&mut points.iter().map(|(row, _)| row.value.median)) * 1.05;
    let mut builder = ChartBuilder::on(&area);
    builder.margin(10).x_label_area_size(36).y_label_area_size(64);
    let highest = |who: &str| {
        most(&mut points.iter().filter(|(row, _)| row.who == who).map(|(row, _)| row.value.median))
    };
    let lowest = names(table).into_iter().map(highest).fold(top, f64::min);
    // Lines that cover each other are not readable.
    if top > lowest * 30.0 {
        let least = points.iter().map(|(row, _)| row.value.median).fold(top, f64::min);
        let chart = builder.build_cartesian_2d(0.0..right * 1.02, (least * 0.7..top * 1.5).log_scale())?;
        draw_lines(chart, table, &points, ", logarithmic")?;
    } else {
        let chart = builder.build_cartesian_2d(0.0..right * 1.02, 0.0..top)?;
        draw_lines(chart, table, &points, "")?;
    }
    area.present()?;
    Ok(())
}

fn draw_lines<'a, Y>(
    mut chart: ChartContext<'a, SVGBackend<'a>, Cartesian2d<RangedCoordf64, Y>>,
    table: &Table,
    points: &[(&Row, f64)],
    scale: &str,
) -> Drawn
where
    Y: Ranged<ValueType = f64> + ValueFormatter<f64> + 'a,
{
    let of = points[0].0.case.split_once(' ').map_or("", |(_, of)| of);
    let number = |value: &f64| short(*value);
    let right = points.iter().map(|(_, x)| *x).fold(1.0, f64::max);
    chart
        .configure_mesh()
        .x_desc(of)
        .y_desc(format!("{}{scale}", table.unit))
        .x_labels((right as usize + 1).min(11))
        .x_label_formatter(&number)
        .y_label_formatter(&number)
        .label_style((FONT, 13))
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.12))
        .draw()?;
    for (i, who) in names(table).into_iter().enumerate() {
        let color = color(who, i);
        let line: Vec<(f64, f64)> =
            points.iter().filter(|(row, _)| row.who == who).map(|(row, x)| (*x, row.value.median)).collect();
        chart
            .draw_series(LineSeries::new(line.clone(), color.stroke_width(2)))?
            .label(who)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], color.stroke_width(2)));
        chart.draw_series(line.into_iter().map(|point| Circle::new(point, 3, color.filled())))?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .label_font((FONT, 14))
        .draw()?;
    Ok(())
}

/// Draws a bar for each program of the first case. If the longest is much longer than the others, the scale is
/// logarithmic.
fn bars(path: &Path, table: &Table, machine: &str) -> Drawn {
    const LEFT: f64 = 210.0;
    const BAR: f64 = 22.0;
    let case = &table.rows[0].case;
    let mut rows: Vec<&Row> = table.rows.iter().filter(|row| row.case == *case).collect();
    rows.sort_by(|a, b| a.value.median.total_cmp(&b.value.median));
    let height = 70 + (rows.len() as f64 * BAR) as u32;
    let area = SVGBackend::new(path, (SIZE.0, height)).into_drawing_area();
    area.fill(&WHITE)?;
    let least = rows.iter().map(|row| row.value.median).fold(f64::MAX, f64::min).max(1e-3);
    let most = rows.iter().map(|row| row.value.median).fold(0.0, f64::max).max(1e-3);
    let logarithmic = most / least > 50.0;
    let scale = if logarithmic { ", logarithmic" } else { "" };
    let area = titled(&area, table, &format!(" ({case}, {}{scale})", table.unit), machine)?;
    let width = f64::from(SIZE.0) - LEFT - 90.0;
    let length = |value: f64| {
        let part =
            if logarithmic { (value / least * 2.0).ln() / (most / least * 2.0).ln() } else { value / most };
        part.max(0.0) * width
    };
    let style = |side| TextStyle::from((FONT, 14)).pos(Pos::new(side, VPos::Center));
    for (i, row) in rows.iter().enumerate() {
        let (top, end) = (6.0 + i as f64 * BAR, LEFT + length(row.value.median));
        let (middle, bottom) = ((top + BAR / 2.0 - 2.0) as i32, (top + BAR - 4.0) as i32);
        let bar = [(LEFT as i32, top as i32), (end as i32, bottom)];
        area.draw(&Rectangle::new(bar, color(&row.who, 0).filled()))?;
        area.draw(&Text::new(row.who.clone(), (LEFT as i32 - 8, middle), style(HPos::Right)))?;
        area.draw(&Text::new(short(row.value.median), (end as i32 + 6, middle), style(HPos::Left)))?;
    }
    area.present()?;
    Ok(())
}

/// Draws the title and the machine, and returns the rest of the area.
fn titled<'a>(
    area: &DrawingArea<SVGBackend<'a>, plotters::coord::Shift>,
    table: &Table,
    more: &str,
    machine: &str,
) -> std::result::Result<DrawingArea<SVGBackend<'a>, plotters::coord::Shift>, Box<dyn std::error::Error>> {
    area.draw(&Text::new(format!("{}{more}", table.title), (12, 8), (FONT, 17)))?;
    area.draw(&Text::new(machine.to_owned(), (12, 30), TextStyle::from((FONT, 12)).color(&BLACK.mix(0.6))))?;
    Ok(area.margin(50, 0, 0, 0))
}

/// The programs with a line, in the order of the table.
fn names(table: &Table) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for row in &table.rows {
        if !names.contains(&row.who.as_str()) {
            names.push(&row.who);
        }
    }
    names
}
