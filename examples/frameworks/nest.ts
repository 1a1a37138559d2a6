/** NestJS on Express. Start it with `npx tsx nest.ts`, because Node does not run decorators. */
import 'reflect-metadata'
import type { AddressInfo } from 'node:net'
import { Body, Controller, Get, Module, Post } from '@nestjs/common'
import { NestFactory } from '@nestjs/core'
import { bitsUpload } from 'express-bits-upload'

@Controller('hello')
class HelloController {
  @Get()
  hello(): string {
    return 'Hello'
  }

  @Post()
  echo(@Body() body: object): object {
    return body
  }
}

@Module({ controllers: [HelloController] })
class AppModule {}

const app = await NestFactory.create(AppModule)
// Before app.listen(), which adds the body parsers.
app.use('/upload', bitsUpload({ store: './incoming' }))

const server = app.getHttpServer()
// Time limits for slow lines and load balancers: see "Time limits" in examples/frameworks/README.md.
server.requestTimeout = 0
server.keepAliveTimeout = 125_000
server.headersTimeout = 130_000
await app.listen(Number(process.env.PORT ?? 8080))
const { port } = server.address() as AddressInfo
console.log(`Send files to http://localhost:${port}/upload/`)
