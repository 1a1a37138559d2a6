import type { IBufferCell, IBufferLine, Terminal } from '@xterm/headless'

/** A terminal and the title of its window. */
export interface Picture {
  readonly title: string
  readonly terminal: Terminal
}

/** Pixels: the size of a cell of 13 px monospace text, the bar of a window, and the space around. */
const Cell = { width: 7.83, height: 18 }
const BarHeight = 26
const Margin = 12

/** The 8 colours of terminals, and the same brighter. */
const palette = [
  ...['#484f58', '#ff7b72', '#3fb950', '#d29922', '#58a6ff', '#bc8cff', '#39c5cf', '#b1bac4'],
  ...['#6e7681', '#ffa198', '#56d364', '#e3b341', '#79c0ff', '#d2a8ff', '#56d4dd', '#f0f6fc'],
]

const escapeXml = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')

/** The attributes of SVG for the style of a cell. */
function styleOf(cell: IBufferCell): string {
  const colour = cell.isFgPalette() ? palette[cell.getFgColor()] : undefined
  return [
    colour ? ` fill="${colour}"` : '',
    cell.isBold() ? ' font-weight="bold"' : '',
    cell.isDim() ? ' opacity="0.6"' : '',
  ].join('')
}

/** A line as text of SVG: one `tspan` for each run of cells with the same style. */
function lineOf(line: IBufferLine): string {
  const runs: { style: string; text: string }[] = []
  const length = line.translateToString(true).length
  for (let column = 0; column < length; column++) {
    const cell = line.getCell(column)
    if (!cell) break
    const style = styleOf(cell)
    const last = runs.at(-1)
    if (last?.style === style) last.text += cell.getChars() || ' '
    else runs.push({ style, text: cell.getChars() || ' ' })
  }
  return runs
    .map(({ style, text }) => (style ? `<tspan${style}>${escapeXml(text)}</tspan>` : escapeXml(text)))
    .join('')
}

/** Draws terminals below each other. */
export function svgOf(title: string, pictures: readonly Picture[]): string {
  const width =
    Math.ceil(Math.max(...pictures.map(({ terminal }) => terminal.cols)) * Cell.width) + 2 * Margin
  const windows: string[] = []
  let top = 0
  for (const { title: name, terminal } of pictures) {
    const height = BarHeight + terminal.rows * Cell.height + Margin
    windows.push(
      `<rect x="0.5" y="${top + 0.5}" width="${width - 1}" height="${height}" rx="8" class="window"/>`,
    )
    windows.push(`<text x="${Margin}" y="${top + 18}" class="name">${escapeXml(name)}</text>`)
    const { active } = terminal.buffer
    for (let row = 0; row < terminal.rows; row++) {
      const line = active.getLine(active.viewportY + row)
      const text = line ? lineOf(line) : ''
      const y = top + BarHeight + (row + 1) * Cell.height - 4
      if (text) windows.push(`<text x="${Margin}" y="${y}" xml:space="preserve">${text}</text>`)
    }
    top += height + Margin
  }
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${top}" viewBox="0 0 ${width} ${top}">
<title>${escapeXml(title)}</title>
<style>
text { font: 13px ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace; fill: #e6edf3 }
.name { fill: #8b949e; font-weight: bold }
.window { fill: #0d1117; stroke: #30363d }
</style>
${windows.join('\n')}
</svg>
`
}
