/** Checks of a markdown file. Each returns one text for each mistake. */
import { localTarget, type MarkdownFile } from './markdown.ts'

/** Links to what does not exist. */
export function brokenLinks(
  page: MarkdownFile,
  pages: readonly MarkdownFile[],
  files: readonly string[],
): string[] {
  return page.links.flatMap((link) => {
    const target = localTarget(page.path, link)
    if (!target) return []
    const problem = (text: string): string[] => [`${page.path}: ${link}: ${text}`]
    if (link.startsWith('/')) return problem('write a relative link')
    if (!files.includes(target.path)) {
      const isFolder = files.some((file) => file.startsWith(`${target.path}/`))
      // The reference has pages for files only.
      return problem(isFolder ? 'link to the README.md of the folder' : 'there is no such file')
    }
    if (target.anchor === undefined) return []
    const linked = target.path === page.path ? page : pages.find(({ path }) => path === target.path)
    return linked?.anchors.has(target.anchor) ? [] : problem('there is no such heading')
  })
}

/** The texts that look like reference links, but whose label is not defined. */
export const undefinedReferences = ({ path, prose }: MarkdownFile): string[] =>
  [...prose.matchAll(/\[[^[\]]+\]\[[^[\]]*\]/g)].map(([text]) => `${path}: ${text}`)

/** The definitions of reference links that no link uses. */
export const unusedDefinitions = ({ path, text, definitions }: MarkdownFile): string[] =>
  definitions
    .filter((label) => text.toLowerCase().split(`[${label}]`).length < 3)
    .map((label) => `${path}: [${label}]`)

/** The blocks that a page says are in a file, but are not, or not in whole lines. */
export function wrongExcerpts(page: MarkdownFile, fileText: (path: string) => string | undefined): string[] {
  return page.blocks.flatMap(({ source, code, line }) => {
    const target = source === undefined ? undefined : localTarget(page.path, source)
    if (!target) return []
    const text = fileText(target.path)
    return text !== undefined && `\n${text}`.includes(`\n${code}\n`)
      ? []
      : [`${page.path}:${line} is not in ${target.path}`]
  })
}

/** Mistakes of format. */
export function formatErrors({ path, text, headings }: MarkdownFile): string[] {
  const lines = text.split('\n')
  const problems = lines.flatMap((line, i) => [
    ...(/\s$/.test(line) ? [`${path}:${i + 1} ends with a space`] : []),
    ...(line.includes('\t') ? [`${path}:${i + 1} has a tab`] : []),
  ])
  if (!/[^\n]\n$/.test(text)) problems.push(`${path} does not end with one line feed`)
  headings.forEach(({ depth, slug, isRepeated }, i) => {
    const above = headings[i - 1]
    if (above === undefined && depth !== 1) problems.push(`${path} does not begin with a heading of level 1`)
    if (above !== undefined && depth === 1) problems.push(`${path}: #${slug} is a second heading of level 1`)
    if (above !== undefined && depth > above.depth + 1) problems.push(`${path}: #${slug} skips a level`)
    if (isRepeated) problems.push(`${path}: #${slug} repeats a heading`)
  })
  if (headings.length === 0) problems.push(`${path} has no heading`)
  return problems
}

/** Words that make a sentence hard to read, or metaphors; see the words of comments in structure.test.ts. */
const unclear =
  /\b(?:nobody|somebody|anybody|everybody|whoever|whomever|anew|tells|told|(?:is|are|was|were) to be|who (?:waits?|asks?)|in vain|in the midst)\b/gi

export const unclearWords = ({ path, prose }: MarkdownFile): string[] =>
  prose
    .split('\n')
    .flatMap((line) =>
      [...line.matchAll(unclear)].map(([word]) => `${path}: '${word}' in: ${line.slice(0, 90)}`),
    )
