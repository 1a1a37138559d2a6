/** Parses the markdown files of the repository. */
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path/posix'
import GithubSlugger, { slug as slugOf } from 'github-slugger'
import { lexer, type Token } from 'marked'
import { root } from './package.ts'

export interface MarkdownFile {
  /** Below the repository. */
  readonly path: string
  readonly text: string
  readonly headings: readonly Heading[]
  /** The fragments that a URL of the page may have. */
  readonly anchors: ReadonlySet<string>
  /** The targets of links and images, as they are written. */
  readonly links: readonly string[]
  /** The labels of the definitions of reference links: `[label]: target`. */
  readonly definitions: readonly string[]
  readonly blocks: readonly CodeBlock[]
  /** The text without code, markup and targets of links; one line for each block. */
  readonly prose: string
}

export interface Heading {
  /** 1 to 6. */
  readonly depth: number
  /** The anchor that GitHub gives the heading. */
  readonly slug: string
  /** Whether a heading above it has the same text, so that the anchor ends with a number. */
  readonly isRepeated: boolean
}

export interface CodeBlock {
  /** The first word behind the fence; empty if there is none, or the block is indented. */
  readonly language: string
  readonly code: string
  /** Line number of the first line of code. */
  readonly line: number
  /** The target of the link that ends the paragraph directly above, as in `[server.mjs](server.mjs):`. */
  readonly source: string | undefined
}

/** The files of the repository, by path: those that git tracks, and new ones that it does not ignore. */
export const trackedFiles: readonly string[] = execFileSync(
  'git',
  ['ls-files', '--cached', '--others', '--exclude-standard', '-z'],
  { cwd: root, encoding: 'utf8', maxBuffer: 16 * 1024 * 1024 },
)
  .split('\0')
  .filter((path) => path !== '' && existsSync(join(root, path)))

/** A target of a link that is a file or folder of the repository. */
export interface LocalTarget {
  /** Below the repository, without a slash at the end; of a target above it with `../`. */
  readonly path: string
  /** Undefined if there is none. */
  readonly anchor: string | undefined
}

/** Resolves a target; undefined if it is a URL. */
export function localTarget(from: string, target: string): LocalTarget | undefined {
  if (/^[a-z][a-z\d+.-]+:/i.test(target)) return undefined
  const [, path = '', anchor] = /^([^#]*)(?:#(.*))?$/s.exec(decodeURI(target)) ?? []
  const resolved = path === '' ? from : join(dirname(from), path).replace(/\/$/, '')
  return { path: resolved, anchor }
}

/** @param path below the repository */
export function parseMarkdown(path: string, text: string): MarkdownFile {
  const slugger = new GithubSlugger()
  const headings: Heading[] = []
  const anchors = new Set<string>()
  const links: string[] = []
  const definitions: string[] = []
  const blocks: CodeBlock[] = []
  const prose: string[] = []
  let offset = 0

  const visit = (tokens: readonly Token[]): void => {
    let above: Token | undefined
    for (const token of tokens) {
      if (token.type === 'space') continue
      if (token.type === 'code') blocks.push(codeBlock(token, above))
      else if (token.type === 'def') definitions.push(token.tag)
      else if (token.type === 'link' || token.type === 'image') links.push(token.href)
      else if (token.type === 'html') readHtml(token.raw)
      else if (token.type === 'heading') {
        const heading = plainText(contentOf(token) ?? [])
        const slug = slugger.slug(heading)
        headings.push({ depth: token.depth, slug, isRepeated: slug !== slugOf(heading) })
        anchors.add(slug)
      }
      for (const children of childrenOf(token)) {
        visit(children)
        if (holdsText(token)) prose.push(plainText(children, '`code`').replace(/\s+/g, ' '))
      }
      above = token
    }
  }

  /** Anchors are also the `id` and `name` of elements. */
  const readHtml = (html: string): void => {
    for (const [, name = '', value = ''] of html.matchAll(/\s(href|src|id|name)=["']([^"']*)["']/gi)) {
      if (/^(?:id|name)$/i.test(name)) anchors.add(value)
      else links.push(value)
    }
    prose.push(html.replace(/<[^>]*>/g, ' ').replace(/\s+/g, ' '))
  }

  const codeBlock = (token: Token, above: Token | undefined): CodeBlock => {
    // A block that is indented, in a list, is found by its first line.
    const [first = ''] = token.raw.trimStart().split('\n')
    offset = text.indexOf(first, offset)
    const line = text.slice(0, offset).split('\n').length + (/^[`~]{3}/.test(first) ? 1 : 0)
    offset += first.length
    const code = 'text' in token ? token.text : ''
    if (/^[`~]{3}/.test(first)) offset += code.length
    const [language = ''] = 'lang' in token ? (token.lang ?? '').split(/\s/) : []
    return { language, code, line, source: linkAtEnd(above) }
  }

  visit(lexer(text))
  return { path, text, headings, anchors, links, definitions, blocks, prose: prose.join('\n') }
}

const contentOf = (token: Token): Token[] | undefined => ('tokens' in token ? token.tokens : undefined)

/** The arrays of tokens within a token: its content, the items of a list, the cells of a table. */
function childrenOf(token: Token): readonly (readonly Token[])[] {
  if (token.type === 'list') return token.items.map((item: { tokens: Token[] }) => item.tokens)
  if (token.type === 'table') {
    const cells: { tokens: Token[] }[] = [...token.header, ...token.rows.flat()]
    return cells.map(({ tokens }) => tokens)
  }
  const content = contentOf(token)
  return content ? [content] : []
}

/** Whether the children of a token are text and its markup, and not blocks. */
const holdsText = ({ type }: Token): boolean => /^(?:heading|paragraph|text|table)$/.test(type)

/** The text of inline tokens, as a reader sees it. */
function plainText(tokens: readonly Token[], codeSpan?: string): string {
  return tokens
    .map((token) => {
      if (token.type === 'codespan') return codeSpan ?? token.text
      if (token.type === 'html' || token.type === 'image') return ''
      if (token.type === 'br') return ' '
      const content = contentOf(token)
      if (content) return plainText(content, codeSpan)
      return 'text' in token ? token.text : ''
    })
    .join('')
}

/** The target of the link at the end of a paragraph, if a colon follows it and nothing else. */
function linkAtEnd(paragraph: Token | undefined): string | undefined {
  if (paragraph?.type !== 'paragraph' && paragraph?.type !== 'text') return undefined
  const [link, colon] = contentOf(paragraph)?.slice(-2) ?? []
  if (link?.type !== 'link' || colon?.type !== 'text' || colon.raw.trim() !== ':') return undefined
  return link.href
}

/** All markdown files of the repository. */
export const markdownFiles: readonly MarkdownFile[] = trackedFiles
  .filter((path) => path.endsWith('.md'))
  .map((path) => parseMarkdown(path, readFileSync(join(root, path), 'utf8')))
